#include "disks/scsi/task.h"

namespace lodge::scsi {

std::span<u8> Task::data_out() {
    if (buffer_.size() != piece_) buffer_.resize(piece_);
    return std::span(buffer_).subspan(position_);
}

std::vector<u8> Task::take_medium_data() {
    buffer_.resize(medium_.length);
    return std::move(buffer_);
}

std::vector<u8> Task::take_data_in() {
    std::vector<u8> data = std::move(buffer_);
    data.resize(piece_);
    if (position_) data.erase(data.begin(), data.begin() + position_);
    return data;
}

void Task::Work::state(StateIo& io) {
    io.field("step", step);
    io.field("offset", offset);
    io.field("left", left);
    io.field("count", count);
    io.field("through", through);
    io.blob("held", held, kMostMediumBytes);
}

void Task::state(StateIo& io) {
    io.bytes("cdb", command_.cdb);
    io.field("nexus", command_.nexus);
    io.field("tag", command_.tag);
    io.field("attribute", command_.attribute);
    io.field("most_out", command_.most_out);
    io.field("most_in", command_.most_in);
    io.field("need", need_);
    io.field("started", started_);
    io.field("exclusive", exclusive_);
    io.field("listed", listed_);
    io.field("total_in", total_in_);
    io.field("total_out", total_out_);
    io.field("moved", moved_);
    io.blob("buffer", buffer_, kMostMediumBytes);
    io.field("piece", piece_);
    io.field("position", position_);
    io.field("operation", medium_.operation);
    io.field("medium_offset", medium_.offset);
    io.field("medium_length", medium_.length);
    io.field("status", status_);
    io.section("sense", 1, [&] { sense_.state(io); });
    io.field("owner_data", owner_data);
    io.section("work", 1, [&] { work.state(io); });
    if (!io.loading()) return;
    const bool moves = medium_.operation == MediumOperation::read || medium_.operation == MediumOperation::write;
    const u64 most = moves ? kMostMediumBytes : kMostMediumRange;
    const bool sound =
        command_.attribute <= TaskAttribute::head_of_queue && need_ <= Need::aborted && piece_ <= kMostMediumBytes &&
        position_ <= piece_ && (buffer_.size() == piece_ || need_ != Need::data_in) &&
        medium_.operation <= MediumOperation::extent && medium_.length <= most && started_ != (need_ == Need::turn);
    if (sound) return;
    io.fail("a SCSI task cannot be");
    need_ = Need::aborted;
    started_ = true;
    piece_ = position_ = 0;
    buffer_ = {};
    medium_ = {};
    command_.attribute = TaskAttribute::simple;
}

}  // namespace lodge::scsi
