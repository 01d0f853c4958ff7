// The disk's commands that move data. Source: SBC-3 chapter 5.
#include <algorithm>
#include <cassert>

#include "disks/scsi/direct_disk.h"

namespace lodge::scsi {

namespace {

// Byte 1 of the CDB.
constexpr u8 kProtection = 0xE0;  // RDPROTECT, WRPROTECT, VRPROTECT
constexpr u8 kFua = 0x08;
constexpr u8 kByteCheck = 0x06;  // BYTCHK, two bits

// Where a command waits (Task::Work::step).
constexpr u8 kData = 1;     // for the initiator's bytes
constexpr u8 kReading = 2;  // for the medium's
constexpr u8 kOffered = 3;  // until the initiator has taken them
constexpr u8 kWriting = 4;
constexpr u8 kFlushing = 5;

bool brief(const Cdb& cdb) {
    return cdb[0] < 0x20;
}

bool all_zero(std::span<const u8> bytes) {
    return std::all_of(bytes.begin(), bytes.end(), [](u8 byte) { return byte == 0; });
}

}  // namespace

// What the commands have in common.

bool DirectDisk::may_write(Task& task) {
    const bool software = mode_pages().byte(0x0A, 4) & 0x08;
    if (!medium()->read_only && !software) return true;
    fail(task, {.key = SenseKey::data_protect, .code = software ? kSoftwareWriteProtected : kWriteProtected});
    return false;
}

bool DirectDisk::no_protection(Task& task) {
    if (brief(cdb(task)) || !(cdb(task)[1] & kProtection)) return true;
    fail(task, Sense::invalid_cdb(1, 7));
    return false;
}

// The information field tells the first block of the chunk that failed.
bool DirectDisk::medium_ok(Task& task) {
    const MediumStatus status = medium_status(task);
    if (status == MediumStatus::ok) return true;
    Sense sense{.key = SenseKey::medium_error, .code = kWriteError, .information = task.work.offset / kBlock};
    if (task.medium().operation == MediumOperation::read) sense.code = kUnrecoveredReadError;
    if (status == MediumStatus::no_space) {
        sense.key = SenseKey::data_protect;
        sense.code = kSpaceAllocationFailed;
    }
    fail(task, sense);
    return false;
}

// False too when there is nothing to do: the command has ended.
bool DirectDisk::begin_range(Task& task) {
    const Range range = range_of(cdb(task));
    if (!no_protection(task) || !in_range(task, range)) return false;
    task.work.offset = range.lba * kBlock;
    task.work.left = range.count * kBlock;
    task.work.through = !write_cache() || (!brief(cdb(task)) && (cdb(task)[1] & kFua));
    if (range.count == 0) finish(task);
    return range.count != 0;
}

// Where the initiator says how much it sends, it must be what the command is about.
bool DirectDisk::sends(Task& task, u64 bytes) {
    const u64 most = task.command().most_out;
    if (most == Command::kUnlimited || most == bytes) return true;
    fail(task, Sense::illegal(kParameterListLengthError));
    return false;
}

void DirectDisk::ask_chunk(Task& task, u8 step) {
    task.work.step = step;
    want_data_out(task, chunk_of(task));
}

void DirectDisk::read_chunk(Task& task, u8 step) {
    task.work.step = step;
    want_medium(task, {MediumOperation::read, task.work.offset, chunk_of(task)});
}

void DirectDisk::write_chunk(Task& task, u8 step, std::vector<u8> data) {
    task.work.step = step;
    const u64 length = data.size();
    want_medium(task, {MediumOperation::write, task.work.offset, length}, std::move(data));
}

void DirectDisk::advance(Task& task, u64 bytes) {
    const u64 moved = std::min(bytes, task.work.left);
    task.work.offset += moved;
    task.work.left -= moved;
}

void DirectDisk::end_write(Task& task) {
    if (!task.work.through) return finish(task);
    task.work.step = kFlushing;
    want_medium(task, {MediumOperation::flush, 0, 0});
}

std::optional<size_t> DirectDisk::first_difference(std::span<const u8> a, std::span<const u8> b) const {
    const size_t size = std::min(a.size(), b.size());
    const auto [at, unused] = std::mismatch(a.begin(), a.begin() + static_cast<long>(size), b.begin());
    const size_t offset = static_cast<size_t>(at - a.begin());
    return offset == size ? std::nullopt : std::optional(offset);
}

// SBC-3 4.18: the information field has the offset of the first byte that differs.
void DirectDisk::miscompare(Task& task, u64 offset) {
    fail(task, {.key = SenseKey::miscompare, .code = kMiscompareDuringVerify, .information = offset});
}

// READ (6), (10), (12), (16).

void DirectDisk::read(Task& task) {
    if (!begin_range(task)) return;
    set_total_in(task, task.work.left);
    task.work.left = std::min(task.work.left, align_up(std::min(task.command().most_in, task.work.left), kBlock));
    if (task.work.left == 0) return finish(task);
    read_chunk(task, kReading);
}

void DirectDisk::read_on(Task& task) {
    if (task.work.step == kReading) {
        if (!medium_ok(task)) return;
        std::vector<u8> data = take_buffer(task);
        if (data.empty()) return finish(task);
        advance(task, data.size());
        task.work.step = kOffered;
        return offer_data_in(task, std::move(data));
    }
    if (task.work.left) return read_chunk(task, kReading);
    finish(task);
}

// WRITE (6), (10), (12), (16), and WRITE AND VERIFY (10), (12), (16): those read back what they have written.

void DirectDisk::write(Task& task) {
    constexpr u8 kVerify10 = 0x2E, kVerify12 = 0xAE, kVerify16 = 0x8E;
    const u8 code = cdb(task)[0];
    const bool verifies = code == kVerify10 || code == kVerify12 || code == kVerify16;
    if (!may_write(task) || !begin_range(task)) return;
    if (verifies && (cdb(task)[1] & kByteCheck) > 0x02) return fail(task, Sense::invalid_cdb(1, 2));
    set_total_out(task, task.work.left);
    task.work.left = std::min(task.work.left, align_down(task.command().most_out, kBlock));
    task.work.count = verifies;
    if (verifies) task.work.through = true;
    if (task.work.left == 0) return finish(task);
    ask_chunk(task, kData);
}

void DirectDisk::write_on(Task& task) {
    Task::Work& work = task.work;
    if (work.step == kData) {
        std::vector<u8> data = take_buffer(task);
        if (work.count) work.held = data;
        return write_chunk(task, kWriting, std::move(data));
    }
    if (!medium_ok(task)) return;
    if (work.step == kFlushing) return finish(task);
    if (work.step == kWriting && work.count) {
        work.step = kReading;
        return want_medium(task, {MediumOperation::read, work.offset, task.medium().length});
    }
    if (work.step == kReading) {
        if (first_difference(work.held, buffer(task)))
            return fail(task,
                        {.key = SenseKey::medium_error, .code = kWriteError, .information = work.offset / kBlock});
    }
    advance(task, task.medium().length);
    if (work.left) return ask_chunk(task, kData);
    end_write(task);
}

// VERIFY (10), (12), (16): BYTCHK 0 reads, 1 compares with as many blocks, 3 with one for all.

void DirectDisk::verify(Task& task) {
    if (!begin_range(task)) return;
    task.work.count = (cdb(task)[1] & kByteCheck) >> 1;
    if (task.work.count == 2) return fail(task, Sense::invalid_cdb(1, 2));
    if (task.work.count == 0) return read_chunk(task, kReading);
    if (task.work.count == 3) {
        task.work.step = kData;
        return static_cast<void>(want_parameters(task, kBlock, kBlock));
    }
    set_total_out(task, task.work.left);
    if (task.command().most_out < task.work.left) return fail(task, Sense::illegal(kParameterListLengthError));
    ask_chunk(task, kData);
}

void DirectDisk::verify_on(Task& task) {
    Task::Work& work = task.work;
    if (work.step == kData) {
        work.held = take_buffer(task);
        return read_chunk(task, kReading);
    }
    if (!medium_ok(task)) return;
    const std::vector<u8> data = take_buffer(task);
    const u64 start = range_of(cdb(task)).lba * kBlock;
    if (work.count == 1) {
        if (const auto at = first_difference(data, work.held)) return miscompare(task, work.offset - start + *at);
    } else if (work.count == 3) {
        for (size_t at = 0; at < data.size(); at += kBlock)
            if (const auto inside = first_difference(std::span(data).subspan(at), work.held))
                return miscompare(task, *inside);
    }
    if (data.empty()) return finish(task);
    advance(task, data.size());
    if (work.left == 0) return finish(task);
    if (work.count == 1) return ask_chunk(task, kData);
    read_chunk(task, kReading);
}

// COMPARE AND WRITE: as many blocks to compare as to write, together one piece of data.

void DirectDisk::compare_and_write(Task& task) {
    const u64 lba = load_big_endian<u64>(&cdb(task)[2]);
    const u64 count = cdb(task)[13];
    if (!may_write(task) || !no_protection(task) || !in_range(task, {lba, count})) return;
    if (count == 0) {
        // No error by itself. But an initiator with data for it has more blocks than the field has room for, and must
        // not believe that they were written.
        const u64 most = task.command().most_out;
        return most && most != Command::kUnlimited ? fail(task, Sense::invalid_cdb(13)) : finish(task);
    }
    task.work.offset = lba * kBlock;
    task.work.left = count * kBlock;
    task.work.through = !write_cache() || (cdb(task)[1] & kFua);
    task.work.step = kData;
    if (sends(task, 2 * task.work.left)) want_data_out(task, 2 * task.work.left);
}

void DirectDisk::compare_and_write_on(Task& task) {
    Task::Work& work = task.work;
    if (work.step == kData) {
        work.held = take_buffer(task);
        work.step = kReading;
        return want_medium(task, {MediumOperation::read, work.offset, work.left});
    }
    if (!medium_ok(task)) return;
    if (work.step == kReading) {
        if (work.left > work.held.size()) return finish(task);  // a damaged state
        const auto expected = std::span(work.held).first(work.left);
        if (const auto at = first_difference(buffer(task), expected)) return miscompare(task, *at);
        return write_chunk(task, kWriting, {work.held.begin() + static_cast<long>(work.left), work.held.end()});
    }
    if (work.step == kWriting) return end_write(task);
    finish(task);
}

// ORWRITE (16): each bit that is set in the data or on the medium.

void DirectDisk::or_write(Task& task) {
    if (!may_write(task) || !begin_range(task)) return;
    set_total_out(task, task.work.left);
    task.work.left = std::min(task.work.left, align_down(task.command().most_out, kBlock));
    if (task.work.left == 0) return finish(task);
    ask_chunk(task, kData);
}

void DirectDisk::or_write_on(Task& task) {
    Task::Work& work = task.work;
    if (work.step == kData) {
        work.held = take_buffer(task);
        return read_chunk(task, kReading);
    }
    if (!medium_ok(task)) return;
    if (work.step == kReading) {
        std::vector<u8> data = take_buffer(task);
        const size_t size = std::min(data.size(), work.held.size());
        for (size_t i = 0; i < size; ++i) data[i] |= work.held[i];
        return write_chunk(task, kWriting, std::move(data));
    }
    if (work.step != kWriting) return finish(task);
    advance(task, task.medium().length);
    if (work.left && task.medium().length) return ask_chunk(task, kData);
    end_write(task);
}

// WRITE SAME (10), (16). With UNMAP, blocks of zeros may as well be unmapped: the medium knows best what zeros are to
// it.

void DirectDisk::write_same(Task& task) {
    constexpr u8 kWriteSame16 = 0x93, kAnchor = 0x10, kUnmap = 0x08, kObsolete = 0x06, kNoData = 0x01;
    const Cdb& bytes = cdb(task);
    const bool no_data = bytes[0] == kWriteSame16 && (bytes[1] & kNoData);
    Range range = range_of(bytes);
    if (!may_write(task) || !no_protection(task)) return;
    if (bytes[1] & kObsolete) return fail(task, Sense::invalid_cdb(1, 2));
    if ((bytes[1] & kAnchor) || (no_data && !(bytes[1] & kUnmap))) return fail(task, Sense::invalid_cdb(1, 4));
    if (range.count == 0 && range.lba < blocks()) range.count = blocks() - range.lba;
    if (range.count == 0) range.count = 1;  // beyond the end
    if (!in_range(task, range)) return;
    if (range.count > kMostWriteSame) return fail(task, Sense::invalid_cdb(bytes[0] == kWriteSame16 ? 10 : 7));
    task.work.offset = range.lba * kBlock;
    task.work.left = range.count * kBlock;
    task.work.through = !write_cache();
    task.work.step = kData;
    if (!no_data && sends(task, kBlock)) want_data_out(task, kBlock);
    if (!no_data) return;
    task.work.held.assign(kBlock, 0);
    same_next(task);
}

void DirectDisk::write_same_on(Task& task) {
    Task::Work& work = task.work;
    if (work.step == kData) {
        work.held = take_buffer(task);
        work.held.resize(kBlock);
        return same_next(task);
    }
    if (!medium_ok(task)) return;
    if (work.step == kFlushing) return finish(task);
    advance(task, task.medium().length);
    if (work.left && task.medium().length) return same_next(task);
    end_write(task);
}

void DirectDisk::same_next(Task& task) {
    Task::Work& work = task.work;
    if (all_zero(work.held)) return zero_next(task);
    std::vector<u8> data(chunk_of(task));
    for (size_t at = 0; at + kBlock <= data.size() && work.held.size() == kBlock; at += kBlock)
        std::copy(work.held.begin(), work.held.end(), data.begin() + static_cast<long>(at));
    write_chunk(task, kWriting, std::move(data));
}

void DirectDisk::zero_next(Task& task) {
    task.work.step = kWriting;
    want_medium(task, {MediumOperation::zero, task.work.offset, std::min(task.work.left, kMostMediumRange)});
}

// UNMAP: a list of ranges, all of them checked before the first is discarded (SBC-3 5.28).

void DirectDisk::unmap(Task& task) {
    constexpr u8 kAnchor = 0x01;
    if (!may_write(task)) return;
    if (cdb(task)[1] & kAnchor) return fail(task, Sense::invalid_cdb(1, 0));
    const u16 length = load_big_endian<u16>(&cdb(task)[7]);
    if (length && length < 8) return fail(task, Sense::illegal(kParameterListLengthError));
    task.work.step = kData;
    want_parameters(task, length, 0xFFFF);
}

std::optional<Sense> DirectDisk::unmap_list_wrong(const std::vector<u8>& list) const {
    const size_t count = (list.size() - 8) / 16;
    if (count > kMostUnmapRanges) return Sense::invalid_parameter(2);
    for (size_t index = 0; index < count; ++index) {
        const size_t at = 8 + index * 16;
        const u64 lba = load_big_endian<u64>(&list[at]);
        const u32 blocks_here = load_big_endian<u32>(&list[at + 8]);
        if (lba > blocks() || blocks_here > blocks() - lba)
            return Sense{
                .key = SenseKey::illegal_request, .code = kLbaOutOfRange, .information = std::max(lba, blocks())};
        if (blocks_here > kMostUnmap) return Sense::invalid_parameter(static_cast<u16>(at + 8));
    }
    return std::nullopt;
}

void DirectDisk::unmap_on(Task& task) {
    Task::Work& work = task.work;
    if (work.step == kData) {
        std::vector<u8> list = take_buffer(task);
        if (list.size() < 8) return fail(task, Sense::illegal(kParameterListLengthError));
        const size_t ranges = load_big_endian<u16>(&list[2]);
        list.resize(8 + std::min(align_down(list.size() - 8, 16), align_down(ranges, 16)));
        if (const auto wrong = unmap_list_wrong(list)) return fail(task, *wrong);
        work.held = std::move(list);
        work.count = work.left = 0;
        work.step = kWriting;
        return unmap_next(task);
    }
    // A hint: that it could not be taken is the host's business.
    advance(task, task.medium().length);
    unmap_next(task);
}

void DirectDisk::unmap_next(Task& task) {
    Task::Work& work = task.work;
    while (work.left == 0) {
        const u64 at = 8 + work.count * 16;
        if (work.count > kMostUnmapRanges || at + 16 > work.held.size()) return finish(task);
        work.offset = load_big_endian<u64>(&work.held[at]) * kBlock;
        work.left = u64{load_big_endian<u32>(&work.held[at + 8])} * kBlock;
        ++work.count;
    }
    want_medium(task, {MediumOperation::discard, work.offset, std::min(work.left, kMostMediumRange)});
}

// FORMAT UNIT (SBC-3 5.3): no defect list, no pattern, no protection; the medium becomes zeros.

void DirectDisk::format_unit(Task& task) {
    constexpr u8 kProtectionInformation = 0xC0, kLongList = 0x20, kData8 = 0x10;
    const u8 byte = cdb(task)[1];
    if (!may_write(task)) return;
    if (byte & kProtectionInformation) return fail(task, Sense::invalid_cdb(1, 7));
    task.work.offset = 0;
    task.work.left = medium()->bytes;
    task.work.through = true;
    task.work.step = kData;
    if (byte & kData8) return static_cast<void>(want_parameters(task, byte & kLongList ? 8 : 4, 8));
    zero_next(task);
}

void DirectDisk::format_unit_on(Task& task) {
    constexpr u8 kPattern = 0x08;
    Task::Work& work = task.work;
    if (work.step == kData) {
        const std::vector<u8> list = take_buffer(task);
        if (list.size() != 4 && list.size() != 8) return fail(task, Sense::illegal(kParameterListLengthError));
        const u32 defects = list.size() == 8 ? load_big_endian<u32>(&list[4]) : load_big_endian<u16>(&list[2]);
        if (list[1] & kPattern) return fail(task, Sense::invalid_parameter(1, 3));
        if (defects) return fail(task, Sense::invalid_parameter(list.size() == 8 ? 4 : 2));
        return zero_next(task);
    }
    if (!medium_ok(task)) return;
    if (work.step == kFlushing) return finish(task);
    advance(task, task.medium().length);
    if (work.left && task.medium().length) return zero_next(task);
    end_write(task);
}

}  // namespace lodge::scsi
