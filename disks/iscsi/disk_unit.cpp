#include "disks/iscsi/disk_unit.h"

#include <algorithm>

namespace lodge::iscsi {

namespace {

constexpr scsi::UnitOptions kOptions{
    .chunk_bytes = DiskUnit::kChunk, .most_tasks = DiskUnit::kMostTasks + 1, .autosense = true};

// SAM-4 4.6: peripheral and flat addressing of the first units. Nothing: no number of ours.
std::optional<u16> number_of_lun(u64 lun) {
    const u16 first = static_cast<u16>(lun >> 48);
    const u16 method = first >> 14, number = first & 0x3FFF;
    if (lun << 16 || method > 1 || number >= scsi::Target::kMostLuns) return std::nullopt;
    return number;
}

bool is_live(const scsi::Task* task) {
    return task && task->need() != scsi::Task::Need::aborted;
}

// SPC-4 7.6.4.6: an iSCSI initiator port's TransportID: its name, padded with zeros.
std::vector<u8> transport_id(const std::vector<u8>& port) {
    constexpr u8 kIscsi = 0x05, kWithSessionId = 0x40;
    const size_t length = align_up(port.size() + 1, 4);
    std::vector<u8> id(4 + length);
    id[0] = kWithSessionId | kIscsi;
    store_big_endian(&id[2], static_cast<u16>(length));
    std::copy(port.begin(), port.end(), id.begin() + 4);
    return id;
}

}  // namespace

void Completions::set_wake(std::function<void()> wake) {
    std::lock_guard lock(mutex_);
    wake_ = std::move(wake);
}

void Completions::post(Completion completion) {
    std::lock_guard lock(mutex_);
    done_.push_back(std::move(completion));
    if (done_.size() == 1 && wake_) wake_();
}

std::vector<Completion> Completions::take() {
    std::lock_guard lock(mutex_);
    return std::exchange(done_, {});
}

void UnitQueue::add(DiskUnit& unit) {
    if (std::exchange(unit.queued_, true)) return;
    units_.push_back(&unit);
}

void UnitQueue::remove(DiskUnit& unit) {
    std::erase(units_, &unit);
}

bool UnitQueue::run(u32 budget) {
    // In rounds, so that a unit with much to do does not starve the others.
    constexpr u32 kTurn = 16;
    while (!units_.empty() && budget > 0) {
        DiskUnit& unit = *units_.front();
        units_.erase(units_.begin());
        unit.queued_ = false;
        const u32 turn = std::min(budget, kTurn);
        u32 left = turn;
        // Whoever it calls may end it.
        const std::shared_ptr<Disk> disk = unit.owner_.lock();
        if (!disk) continue;
        if (!unit.run(left)) add(unit);
        budget -= turn - left;
    }
    return units_.empty();
}

DiskUnit& DiskUnit::of(const std::shared_ptr<Disk>& disk, const std::shared_ptr<Completions>& completions,
                       UnitQueue& queue) {
    if (!disk->unit) disk->unit = std::make_shared<DiskUnit>(disk, completions, queue);
    return *static_cast<DiskUnit*>(disk->unit.get());
}

DiskUnit::DiskUnit(const std::shared_ptr<Disk>& disk, std::shared_ptr<Completions> completions, UnitQueue& queue)
    : owner_(disk),
      disk_(*disk),
      completions_(std::move(completions)),
      queue_(queue),
      unit_(disk->identity(), {align_down(disk->bytes(), scsi::DirectDisk::kBlock), disk->read_only()}, kOptions),
      target_(kOptions) {
    target_.add(0, unit_);
}

DiskUnit::~DiskUnit() {
    queue_.remove(*this);
}

scsi::Nexus DiskUnit::join(const std::vector<u8>& port) {
    const auto [entry, fresh] = ports_.try_emplace(port, next_nexus_);
    if (fresh) ++next_nexus_;
    unit_.set_transport_id(entry->second, transport_id(port));
    return entry->second;
}

void DiskUnit::leave(scsi::Nexus nexus) {
    target_.visit([nexus](scsi::Unit& unit) { unit.nexus_lost(nexus); });
    target_.unit(scsi::Target::kMostLuns).forget(nexus);
    if (unit_.forget(nexus)) std::erase_if(ports_, [nexus](const auto& entry) { return entry.second == nexus; });
    wake();
}

bool DiskUnit::has(u64 lun) const {
    return number_of_lun(lun) == 0;
}

scsi::Unit& DiskUnit::unit(u64 lun) {
    return target_.unit(number_of_lun(lun).value_or(scsi::Target::kMostLuns));
}

void DiskUnit::reset(scsi::Unit::Reset kind) {
    target_.visit([kind](scsi::Unit& unit) { unit.reset(kind); });
    wake();
}

bool DiskUnit::run(u32& budget) {
    bool more = false;
    target_.visit([&](scsi::Unit& unit) {
        while (budget > 0) {
            scsi::Task* task = unit.take_ready();
            if (!task) return;
            if (task->need() == scsi::Task::Need::medium) {
                serve_medium(*task, budget);
            } else if (TaskOwner* owner = reinterpret_cast<TaskOwner*>(task->owner_data)) {
                owner->serve(*task);
            } else {
                unit.retire(*task);
            }
        }
        more = true;
    });
    feed_hungry();
    return !more;
}

// Only the disk has a medium.
void DiskUnit::serve_medium(scsi::Task& task, u32& budget) {
    const scsi::MediumRequest request = task.medium();
    std::vector<u8> data;
    if (request.operation == scsi::MediumOperation::write) data = task.take_medium_data();
    --budget;
    if (auto result = disk_.try_now(request, data)) return unit_.medium_done(task, std::move(*result));
    const u64 operation = next_operation_++;
    under_way_[operation] = task.id();
    // Handed on whole, so that no worker ever holds the last reference to the disk.
    auto completion = std::make_shared<Completion>(Completion{owner_.lock(), operation, {}});
    disk_.submit(request, std::move(data), [completion, completions = completions_](scsi::MediumResult result) {
        completion->result = std::move(result);
        completions->post(std::move(*completion));
    });
}

void DiskUnit::completed(u64 operation, scsi::MediumResult result) {
    const auto found = under_way_.find(operation);
    if (found == under_way_.end()) return;
    scsi::Task* task = unit_.find(found->second);
    under_way_.erase(found);
    if (task) unit_.medium_done(*task, std::move(result));
    std::vector<std::function<void()>> calls;
    for (Waiting& waiting : waiting_)
        if (waiting.operations.erase(operation) && waiting.operations.empty()) calls.push_back(std::move(waiting.then));
    std::erase_if(waiting_, [](const Waiting& waiting) { return waiting.operations.empty(); });
    wake();
    for (const auto& call : calls) call();
}

void DiskUnit::when_quiet(std::function<void()> then) {
    Waiting waiting;
    for (const auto& [operation, task] : under_way_)
        if (!is_live(unit_.find(task))) waiting.operations.insert(operation);
    if (waiting.operations.empty()) return then();
    waiting.then = std::move(then);
    waiting_.push_back(std::move(waiting));
}

void DiskUnit::feed_hungry() {
    if (hungry_.empty() || full()) return;
    for (const auto& call : std::exchange(hungry_, {})) call();
}

}  // namespace lodge::iscsi
