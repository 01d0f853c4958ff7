#include "disks/scsi/direct_disk.h"

#include <algorithm>
#include <cassert>

namespace lodge::scsi {

DirectDisk::DirectDisk(UnitIdentity identity, Medium medium, UnitOptions options)
    : Unit(DeviceType::direct_access, false, std::move(identity), options) {
    assert(medium.bytes % kBlock == 0);
    set_medium(medium);
    add_mode_pages();
}

std::span<const Operation> DirectDisk::operations() const {
    using Disk = DirectDisk;
    constexpr u8 kNone = Operation::kNoServiceAction;
    constexpr u8 kReads = Operation::kNeedsMedium | Operation::kReads;
    constexpr u8 kWrites = Operation::kNeedsMedium;
    constexpr u8 kAlone = kWrites | Operation::kExclusive;
    constexpr u8 kFree = Operation::kDespiteReservation;
    // clang-format off
    static const Operation kOperations[] = {
        {0x01, kNone, 6,  kReads,  handler(&Disk::rezero), nullptr, {}},
        {0x04, kNone, 6,  kAlone,  handler(&Disk::format_unit), handler(&Disk::format_unit_on), {0x38}},
        {0x08, kNone, 6,  kReads,  handler(&Disk::read),  handler(&Disk::read_on),  {0x1F, 0xFF, 0xFF, 0xFF}},
        {0x0A, kNone, 6,  kWrites, handler(&Disk::write), handler(&Disk::write_on), {0x1F, 0xFF, 0xFF, 0xFF}},
        {0x0B, kNone, 6,  kReads,  handler(&Disk::seek),  nullptr,                  {0x1F, 0xFF, 0xFF}},
        {0x16, kNone, 6,  kFree,   handler(&Disk::reserve), nullptr, {}},
        {0x17, kNone, 6,  kFree,   handler(&Disk::release), nullptr, {}},
        {0x1B, kNone, 6,  kFree,   handler(&Disk::start_stop), handler(&Disk::start_stop_on), {0x01, 0, 0x0F, 0xF7}},
        {0x25, kNone, 10, kFree | kReads, handler(&Disk::read_capacity_10), nullptr, {}},
        {0x28, kNone, 10, kReads,  handler(&Disk::read),  handler(&Disk::read_on),
                                                      {0x18, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0xFF, 0xFF}},
        {0x2A, kNone, 10, kWrites, handler(&Disk::write), handler(&Disk::write_on),
                                                      {0x18, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0xFF, 0xFF}},
        {0x2B, kNone, 10, kReads,  handler(&Disk::seek),  nullptr, {0, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0x2E, kNone, 10, kWrites, handler(&Disk::write), handler(&Disk::write_on),
                                                      {0x12, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0xFF, 0xFF}},
        {0x2F, kNone, 10, kReads,  handler(&Disk::verify), handler(&Disk::verify_on),
                                                      {0x16, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0xFF, 0xFF}},
        {0x34, kNone, 10, kReads,  handler(&Disk::pre_fetch), nullptr,
                                                      {0x02, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0xFF, 0xFF}},
        {0x35, kNone, 10, kWrites, handler(&Disk::synchronize_cache), handler(&Disk::flushed),
                                                      {0x02, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0xFF, 0xFF}},
        {0x37, kNone, 10, kReads,  handler(&Disk::read_defect_data_10), nullptr, {0, 0x1F, 0, 0, 0, 0, 0xFF, 0xFF}},
        {0x41, kNone, 10, kWrites, handler(&Disk::write_same), handler(&Disk::write_same_on),
                                                      {0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0xFF, 0xFF}},
        {0x42, kNone, 10, kWrites, handler(&Disk::unmap), handler(&Disk::unmap_on), {0, 0, 0, 0, 0, 0, 0xFF, 0xFF}},
        {0x56, kNone, 10, kFree,   handler(&Disk::reserve), nullptr, {}},
        {0x57, kNone, 10, kFree,   handler(&Disk::release), nullptr, {}},
        {0x5E, 0x00,  10, kFree,   handler(&Disk::persistent_reserve_in), nullptr, {0x1F, 0, 0, 0, 0, 0, 0xFF, 0xFF}},
        {0x5E, 0x01,  10, kFree,   handler(&Disk::persistent_reserve_in), nullptr, {0x1F, 0, 0, 0, 0, 0, 0xFF, 0xFF}},
        {0x5E, 0x02,  10, kFree,   handler(&Disk::persistent_reserve_in), nullptr, {0x1F, 0, 0, 0, 0, 0, 0xFF, 0xFF}},
        {0x5E, 0x03,  10, kFree,   handler(&Disk::persistent_reserve_in), nullptr, {0x1F, 0, 0, 0, 0, 0, 0xFF, 0xFF}},
        {0x5F, 0x00,  10, kFree,   handler(&Disk::persistent_reserve_out), handler(&Disk::persistent_reserve_out_end),
                                                      {0x1F, 0xFF, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0x5F, 0x01,  10, kFree,   handler(&Disk::persistent_reserve_out), handler(&Disk::persistent_reserve_out_end),
                                                      {0x1F, 0xFF, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0x5F, 0x02,  10, kFree,   handler(&Disk::persistent_reserve_out), handler(&Disk::persistent_reserve_out_end),
                                                      {0x1F, 0xFF, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0x5F, 0x03,  10, kFree,   handler(&Disk::persistent_reserve_out), handler(&Disk::persistent_reserve_out_end),
                                                      {0x1F, 0xFF, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0x5F, 0x04,  10, kFree,   handler(&Disk::persistent_reserve_out), handler(&Disk::persistent_reserve_out_end),
                                                      {0x1F, 0xFF, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0x5F, 0x05,  10, kFree,   handler(&Disk::persistent_reserve_out), handler(&Disk::persistent_reserve_out_end),
                                                      {0x1F, 0xFF, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0x5F, 0x06,  10, kFree,   handler(&Disk::persistent_reserve_out), handler(&Disk::persistent_reserve_out_end),
                                                      {0x1F, 0xFF, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0x5F, 0x07,  10, kFree,   handler(&Disk::persistent_reserve_out), handler(&Disk::persistent_reserve_out_end),
                                                      {0x1F, 0xFF, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0x88, kNone, 16, kReads,  handler(&Disk::read),  handler(&Disk::read_on),
                                   {0x18, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0x89, kNone, 16, kAlone,  handler(&Disk::compare_and_write), handler(&Disk::compare_and_write_on),
                                   {0x18, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0xFF}},
        {0x8A, kNone, 16, kWrites, handler(&Disk::write), handler(&Disk::write_on),
                                   {0x18, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0x8B, kNone, 16, kAlone,  handler(&Disk::or_write), handler(&Disk::or_write_on),
                                   {0x18, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0x8E, kNone, 16, kWrites, handler(&Disk::write), handler(&Disk::write_on),
                                   {0x12, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0x8F, kNone, 16, kReads,  handler(&Disk::verify), handler(&Disk::verify_on),
                                   {0x16, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0x90, kNone, 16, kReads,  handler(&Disk::pre_fetch), nullptr,
                                   {0x02, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0x91, kNone, 16, kWrites, handler(&Disk::synchronize_cache), handler(&Disk::flushed),
                                   {0x02, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0x93, kNone, 16, kWrites, handler(&Disk::write_same), handler(&Disk::write_same_on),
                                   {0x09, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0x9E, 0x10,  16, kFree | kReads, handler(&Disk::read_capacity_16), nullptr,
                                   {0x1F, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0x9E, 0x12,  16, kReads,  handler(&Disk::get_lba_status), handler(&Disk::get_lba_status_on),
                                   {0x1F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0xA8, kNone, 12, kReads,  handler(&Disk::read),  handler(&Disk::read_on),
                                   {0x18, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0xAA, kNone, 12, kWrites, handler(&Disk::write), handler(&Disk::write_on),
                                   {0x18, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0xAE, kNone, 12, kWrites, handler(&Disk::write), handler(&Disk::write_on),
                                   {0x12, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0xAF, kNone, 12, kReads,  handler(&Disk::verify), handler(&Disk::verify_on),
                                   {0x16, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0xB7, kNone, 12, kReads,  handler(&Disk::read_defect_data_12), nullptr,
                                   {0x1F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}},
    };
    // clang-format on
    return kOperations;
}

// SBC-3 4.23: a stopped disk wants START STOP UNIT.
std::optional<Sense> DirectDisk::not_ready() const {
    if (stopped_) return Sense{.key = SenseKey::not_ready, .code = kInitializingCommandRequired};
    return Unit::not_ready();
}

void DirectDisk::unit_reset(Reset) {
    stopped_ = false;
}

void DirectDisk::unit_state(StateIo& io) {
    io.field("stopped", stopped_);
}

// What it says of itself.

// SAM-4, SPC-4 and SBC-3, none in a certain version (SPC-4 table 177).
std::vector<u16> DirectDisk::standards() const {
    return {0x0080, 0x0460, 0x04C0};
}

std::optional<std::vector<u8>> DirectDisk::vital_page(u8 code) const {
    constexpr u8 kBlockLimits = 0xB0, kCharacteristics = 0xB1, kProvisioning = 0xB2;
    // Offsets are the page's, less its header of four bytes.
    std::vector<u8> page(60);
    switch (code) {
        case kBlockLimits:
            page[5 - 4] = kMostCompare;
            store_big_endian(&page[12 - 4], options().chunk_bytes / kBlock);  // optimal transfer length
            store_big_endian(&page[20 - 4], kMostUnmap);
            store_big_endian(&page[24 - 4], kMostUnmapRanges);
            store_big_endian(&page[28 - 4], kUnmapGranularity);
            store_big_endian(&page[36 - 4], u64{kMostWriteSame});
            return page;
        case kCharacteristics:
            store_big_endian(&page[4 - 4], u16{1});  // it does not rotate
            return page;
        case kProvisioning:
            return std::vector<u8>{0, 0xE0, 0x02, 0};  // LBPU, LBPWS, LBPWS10; thin provisioning
        default:
            return std::nullopt;
    }
}

// SBC-3 6.5; SPC-4 7.5. Geometry is for old systems that ask for it: that of most BIOSes, 255 heads and 63 sectors.
void DirectDisk::add_mode_pages() {
    constexpr u8 kHeads = 255, kSectors = 63;
    const u32 cylinders = static_cast<u32>(std::min<u64>(blocks() / (kHeads * kSectors), 0xFF'FFFF));
    const u8 c2 = static_cast<u8>(cylinders >> 16), c1 = static_cast<u8>(cylinders >> 8);
    const u8 c0 = static_cast<u8>(cylinders);
    ModePages& pages = mode_pages();
    // Read-write error recovery: AWRE, ARRE; retries are nobody's to count here.
    pages.add({0x01, 10, 0xC0, 8, 0, 0, 0, 0, 8, 0, 0, 0}, {0, 0, 0xFF, 0xFF, 0, 0, 0, 0, 0xFF, 0, 0xFF, 0xFF});
    // Disconnect-reconnect: buffer ratios and limits, which mean nothing to this unit.
    if (options().parallel)
        pages.add({0x02, 14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
                  {0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0});
    // Format device: sectors per track, bytes per sector; hard sectored.
    pages.add({0x03, 22, 0, 1, 0, 0, 0, 0, 0, 0, 0, kSectors, kBlock >> 8, 0, 0, 1, 0, 0, 0, 0, 0x40, 0, 0, 0}, {});
    // Rigid disk geometry.
    pages.add({0x04, 22, c2, c1, c0, kHeads, c2, c1, c0, c2, c1, c0, 0, 0, c2, c1, c0, 0, 0, 0, 0x3A, 0x98, 0, 0}, {});
    // Caching: WCE may be changed.
    pages.add({0x08, 18, 0x04, 0, 0xFF, 0xFF, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, 0x04});
    // Control: unrestricted reordering is what simple tasks get; D_SENSE and SWP may be changed.
    pages.add({0x0A, 10, 0, 0x10, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0}, {0, 0, 0x04, 0, 0x08});
    // Informational exceptions: none are reported.
    pages.add({0x1C, 10, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 0}, {});
}

u8 DirectDisk::mode_device_parameter() const {
    constexpr u8 kWriteProtect = 0x80, kDpoFua = 0x10;
    const bool software = mode_pages().byte(0x0A, 4) & 0x08;
    return static_cast<u8>(kDpoFua | (medium()->read_only || software ? kWriteProtect : 0));
}

// SBC-3 6.5.2: number of blocks, bytes in a block.
std::vector<u8> DirectDisk::block_descriptor(bool long_lba) const {
    std::vector<u8> data(long_lba ? 16 : 8);
    if (long_lba) {
        store_big_endian(&data[0], blocks());
        store_big_endian(&data[12], kBlock);
    } else {
        store_big_endian(&data[0], static_cast<u32>(std::min<u64>(blocks(), 0xFFFF'FFFF)));
        data[6] = kBlock >> 8;
    }
    return data;
}

// Only what is true may be said: neither the size of the disk nor of its blocks can be changed.
std::optional<Sense> DirectDisk::select_block_descriptor(std::span<const u8> descriptor, size_t at) {
    if (descriptor.empty()) return std::nullopt;
    const u16 byte = static_cast<u16>(at);
    if (descriptor.size() != 8 && descriptor.size() != 16) return Sense::illegal(kParameterListLengthError);
    const bool brief = descriptor.size() == 8;
    const u64 count = brief ? load_big_endian<u32>(&descriptor[0]) : load_big_endian<u64>(&descriptor[0]);
    const u32 block = brief ? load_big_endian<u32>(&descriptor[4]) & 0xFF'FFFF : load_big_endian<u32>(&descriptor[12]);
    const bool all = count == (brief ? u64{0xFFFF'FFFF} : ~u64{0});
    if (count && !all && count != blocks()) return Sense::invalid_parameter(byte);
    if (block && block != kBlock) return Sense::invalid_parameter(static_cast<u16>(byte + (brief ? 5 : 12)));
    return std::nullopt;
}

void DirectDisk::read_capacity_10(Task& task) {
    const Cdb& bytes = cdb(task);
    // PMI is obsolete; without it the address had to be zero.
    if (!(bytes[8] & 0x01) && load_big_endian<u32>(&bytes[2])) return fail(task, Sense::invalid_cdb(2));
    std::vector<u8> data(8);
    store_big_endian(&data[0], static_cast<u32>(std::min<u64>(blocks() - 1, 0xFFFF'FFFF)));
    store_big_endian(&data[4], kBlock);
    reply(task, std::move(data), Command::kUnlimited);
}

// SBC-3 5.16. LBPME: UNMAP works.
void DirectDisk::read_capacity_16(Task& task) {
    std::vector<u8> data(32);
    store_big_endian(&data[0], blocks() - 1);
    store_big_endian(&data[8], kBlock);
    data[14] = 0x80;
    reply(task, std::move(data), load_big_endian<u32>(&cdb(task)[10]));
}

// No defects in the format that was asked for.
void DirectDisk::read_defect_data_10(Task& task) {
    const Cdb& bytes = cdb(task);
    reply(task, {0, static_cast<u8>(bytes[2] & 0x1F), 0, 0}, load_big_endian<u16>(&bytes[7]));
}

void DirectDisk::read_defect_data_12(Task& task) {
    const Cdb& bytes = cdb(task);
    reply(task, {0, static_cast<u8>(bytes[1] & 0x1F), 0, 0, 0, 0, 0, 0}, load_big_endian<u32>(&bytes[6]));
}

// SBC-3 5.6: runs that are alike, from the address asked for on. Long lists are cut: the initiator asks again.
void DirectDisk::get_lba_status(Task& task) {
    const u64 lba = load_big_endian<u64>(&cdb(task)[2]);
    const u32 allocation = load_big_endian<u32>(&cdb(task)[10]);
    if (lba >= blocks())
        return fail(task, {.key = SenseKey::illegal_request, .code = kLbaOutOfRange, .information = lba});
    if (allocation == 0) return finish(task);
    task.work.offset = lba * kBlock;
    task.work.held.assign(8, 0);
    want_medium(task, {MediumOperation::extent, task.work.offset, 0});
}

void DirectDisk::get_lba_status_on(Task& task) {
    constexpr size_t kMostRuns = 16, kRun = 16;
    constexpr u8 kMapped = 0, kDeallocated = 1;
    Task::Work& work = task.work;
    if (task.need() == Task::Need::data_in) return finish(task);
    const u64 rest = medium()->bytes - std::min(medium()->bytes, work.offset);
    const bool known = medium_status(task) == MediumStatus::ok && extent_length(task) >= kBlock;
    const u64 most = u64{0xFFFF'FFFF} * kBlock;
    const u64 length = std::min({align_down(known ? extent_length(task) : rest, kBlock), rest, most});
    const size_t at = work.held.size();
    work.held.resize(at + kRun);
    store_big_endian(&work.held[at], work.offset / kBlock);
    store_big_endian(&work.held[at + 8], static_cast<u32>(length / kBlock));
    work.held[at + 12] = known && extent_zero(task) ? kDeallocated : kMapped;
    work.offset += length;
    const u32 allocation = load_big_endian<u32>(&cdb(task)[10]);
    const size_t size = work.held.size();
    if (length && work.offset < medium()->bytes && size < allocation && size < 8 + kMostRuns * kRun)
        return want_medium(task, {MediumOperation::extent, work.offset, 0});
    store_big_endian(&work.held[0], static_cast<u32>(size - 4));
    reply(task, std::move(work.held), allocation);
}

// What moves no data.

DirectDisk::Range DirectDisk::range_of(const Cdb& bytes) {
    switch (bytes[0] >> 5) {
        case 0:
            return {load_big_endian<u32>(&bytes[0]) & 0x1F'FFFF, bytes[4] ? bytes[4] : u64{256}};
        case 4:
            return {load_big_endian<u64>(&bytes[2]), load_big_endian<u32>(&bytes[10])};
        case 5:
            return {load_big_endian<u32>(&bytes[2]), load_big_endian<u32>(&bytes[6])};
        default:
            return {load_big_endian<u32>(&bytes[2]), load_big_endian<u16>(&bytes[7])};
    }
}

bool DirectDisk::in_range(Task& task, const Range& range) {
    if (range.lba <= blocks() && range.count <= blocks() - range.lba) return true;
    const u64 first_missing = std::max(range.lba, blocks());
    fail(task, {.key = SenseKey::illegal_request, .code = kLbaOutOfRange, .information = first_missing});
    return false;
}

void DirectDisk::rezero(Task& task) {
    finish(task);
}

void DirectDisk::seek(Task& task) {
    if (in_range(task, {range_of(cdb(task)).lba, 1})) finish(task);
}

// SBC-3 5.9: GOOD says that not all of it is in the cache, which is true: nothing is fetched.
void DirectDisk::pre_fetch(Task& task) {
    if (in_range(task, range_of(cdb(task)))) finish(task);
}

void DirectDisk::synchronize_cache(Task& task) {
    if (in_range(task, range_of(cdb(task)))) want_medium(task, {MediumOperation::flush, 0, 0});
}

void DirectDisk::flushed(Task& task) {
    if (medium_ok(task)) finish(task);
}

// SBC-3 5.25. All power conditions are alike here.
void DirectDisk::start_stop(Task& task) {
    constexpr u8 kLoadEject = 0x02, kStart = 0x01, kNoFlush = 0x04;
    const u8 byte = cdb(task)[4];
    if (byte & 0xF0) return finish(task);
    if (byte & kLoadEject) return fail(task, Sense::invalid_cdb(4, 1));
    stopped_ = !(byte & kStart);
    if (!stopped_ || (byte & kNoFlush)) return finish(task);
    want_medium(task, {MediumOperation::flush, 0, 0});
}

void DirectDisk::start_stop_on(Task& task) {
    flushed(task);
}

}  // namespace lodge::scsi
