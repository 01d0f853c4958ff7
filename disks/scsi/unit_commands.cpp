// The commands that units of all types have. Source: SPC-4 chapter 6, vital product data in 7.8.
#include <algorithm>
#include <array>
#include <string>

#include "disks/scsi/unit.h"

namespace lodge::scsi {

namespace {

constexpr u8 kVitalSupportedPages = 0x00;
constexpr u8 kVitalSerialNumber = 0x80;
constexpr u8 kVitalIdentification = 0x83;

constexpr u32 kMostParameters = 4096;

void append(std::vector<u8>& to, std::string_view text, size_t width) {
    for (size_t i = 0; i < width; ++i) to.push_back(i < text.size() ? static_cast<u8>(text[i]) : u8{' '});
}

template <class T>
void append_big_endian(std::vector<u8>& to, T value) {
    const size_t at = to.size();
    to.resize(at + sizeof value);
    store_big_endian(&to[at], value);
}

// FNV-1a, for a number that follows from the unit's serial number.
u64 hash(std::string_view text) {
    u64 value = 0xCBF2'9CE4'8422'2325;
    for (const char c : text) value = (value ^ static_cast<u8>(c)) * 0x100'0000'01B3;
    return value;
}

}  // namespace

std::span<const Operation> Unit::primary_operations() {
    constexpr u8 kNone = Operation::kNoServiceAction;
    constexpr u8 kAlways = Operation::kDespiteAttention | Operation::kDespiteReservation;
    constexpr u8 kFree = Operation::kDespiteReservation;
    // clang-format off
    static constexpr Operation kOperations[] = {
        {0x00, kNone, 6,  kFree | Operation::kNeedsMedium, &Unit::test_unit_ready, nullptr, {}},
        {0x03, kNone, 6,  kAlways, &Unit::request_sense,         nullptr,                {0x01, 0, 0, 0xFF}},
        {0x12, kNone, 6,  kAlways, &Unit::inquiry,               nullptr,                {0x01, 0xFF, 0xFF, 0xFF}},
        {0x15, kNone, 6,  0,       &Unit::mode_select_6,         &Unit::mode_select_end, {0x11, 0, 0, 0xFF}},
        {0x1A, kNone, 6,  0,       &Unit::mode_sense_6,          nullptr,                {0x08, 0xFF, 0xFF, 0xFF}},
        {0x1C, kNone, 6,  0,       &Unit::receive_diagnostic,    nullptr,                {0x01, 0xFF, 0xFF, 0xFF}},
        {0x1D, kNone, 6,  0,       &Unit::send_diagnostic,       nullptr,                {0xF7, 0, 0xFF, 0xFF}},
        {0x1E, kNone, 6,  kFree,   &Unit::prevent_allow_removal, nullptr,                {0, 0, 0, 0x01}},
        {0x3B, kNone, 10, 0,       &Unit::write_buffer,          &Unit::write_buffer_end,
                                                         {0x1F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0x3C, kNone, 10, 0,       &Unit::read_buffer,           nullptr,
                                                         {0x1F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0x4D, kNone, 10, kFree,   &Unit::log_sense,             nullptr,
                                                         {0x03, 0xFF, 0xFF, 0, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0x55, kNone, 10, 0,       &Unit::mode_select_10,        &Unit::mode_select_end, {0x11, 0, 0, 0, 0, 0, 0xFF, 0xFF}},
        {0x5A, kNone, 10, 0,       &Unit::mode_sense_10,         nullptr,
                                                         {0x18, 0xFF, 0xFF, 0, 0, 0, 0xFF, 0xFF}},
        {0xA0, kNone, 12, kAlways, &Unit::report_luns,           nullptr,  {0, 0xFF, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0xA3, 0x0C,  12, kFree,   &Unit::report_operations,     nullptr,
                                                         {0x1F, 0x87, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0xA3, 0x0D,  12, kFree,   &Unit::report_task_management, nullptr,
                                                         {0x1F, 0x80, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF}},
    };
    // clang-format on
    return kOperations;
}

void Unit::test_unit_ready(Task& task) {
    finish(task);
}

// SPC-4 6.39: the sense of the nexus's last command, else a unit attention, else why the unit is not ready.
void Unit::request_sense(Task& task) {
    const u8 descriptors = cdb(task)[1] & 0x01;
    NexusState& nexus = nexus_state(task.command().nexus);
    Sense sense;
    if (nexus.sense) {
        sense = *nexus.sense;
        nexus.sense.reset();
    } else if (!nexus.attentions.empty()) {
        sense = {.key = SenseKey::unit_attention, .code = nexus.attentions.front()};
        nexus.attentions.erase(nexus.attentions.begin());
    } else if (const auto why = not_ready()) {
        sense = *why;
    }
    // SCSI-1 had four bytes for an allocation length of zero; since SCSI-2 it is none.
    reply(task, descriptors ? sense.descriptors() : sense.fixed(), cdb(task)[4]);
}

void Unit::inquiry(Task& task) {
    const Cdb& bytes = cdb(task);
    const u16 allocation = load_big_endian<u16>(&bytes[3]);
    const bool vital = bytes[1] & 0x01;
    if (!vital && bytes[2]) return fail(task, Sense::invalid_cdb(2));
    if (!vital) return reply(task, standard_inquiry(), allocation);
    auto page = common_vital_page(bytes[2]);
    if (!page) page = vital_page(bytes[2]);
    if (!page) return fail(task, Sense::invalid_cdb(2));
    std::vector<u8> data = {static_cast<u8>(type_), bytes[2]};
    append_big_endian(data, static_cast<u16>(page->size()));
    data.insert(data.end(), page->begin(), page->end());
    reply(task, std::move(data), allocation);
}

// SPC-4 table 175.
std::vector<u8> Unit::standard_inquiry() const {
    constexpr u8 kSpc4 = 0x06;
    constexpr u8 kHierarchical = 0x10, kResponseFormat = 0x02;
    constexpr u8 kWide16 = 0x20, kSynchronous = 0x10, kQueueing = 0x02;
    std::vector<u8> data = {static_cast<u8>(type_),
                            static_cast<u8>(removable_ ? 0x80 : 0),
                            kSpc4,
                            kHierarchical | kResponseFormat,
                            0,
                            0,
                            0,
                            kQueueing};
    if (options_.parallel) data[7] |= kWide16 | kSynchronous;
    append(data, identity_.vendor, 8);
    append(data, identity_.product, 16);
    append(data, identity_.revision, 4);
    data.resize(58);
    for (const u16 standard : standards()) append_big_endian(data, standard);
    data.resize(74);
    data[4] = static_cast<u8>(data.size() - 5);
    return data;
}

std::optional<std::vector<u8>> Unit::common_vital_page(u8 code) const {
    if (code == kVitalSupportedPages) {
        std::vector<u8> codes = {kVitalSupportedPages, kVitalSerialNumber, kVitalIdentification};
        const std::vector<u8> more = vital_page_codes();
        codes.insert(codes.end(), more.begin(), more.end());
        return codes;
    }
    if (code == kVitalSerialNumber) return std::vector<u8>(identity_.serial.begin(), identity_.serial.end());
    if (code == kVitalIdentification) return designators();
    return std::nullopt;
}

// SPC-4 7.8.6: a T10 vendor identification, and a locally assigned NAA designator.
std::vector<u8> Unit::designators() const {
    constexpr u8 kAscii = 0x02, kBinary = 0x01;
    constexpr u8 kVendorBased = 0x01, kNaa = 0x03;
    constexpr u64 kLocallyAssigned = 0x3;
    std::vector<u8> data = {kAscii, kVendorBased, 0, static_cast<u8>(8 + 16 + identity_.serial.size())};
    append(data, identity_.vendor, 8);
    append(data, identity_.product, 16);
    append(data, identity_.serial, identity_.serial.size());
    data.insert(data.end(), {kBinary, kNaa, 0, 8});
    append_big_endian(data, kLocallyAssigned << 60 | hash(identity_.serial) >> 4);
    return data;
}

// MODE SELECT and MODE SENSE, SPC-4 6.11 to 6.14.

void Unit::mode_select_6(Task& task) {
    want_parameters(task, cdb(task)[4], kMostParameters);
}

void Unit::mode_select_10(Task& task) {
    want_parameters(task, load_big_endian<u16>(&cdb(task)[7]), kMostParameters);
}

void Unit::mode_select_end(Task& task) {
    constexpr u8 kModeSelect6 = 0x15, kSavePages = 0x01;
    const std::vector<u8> list = take_buffer(task);
    const bool brief = cdb(task)[0] == kModeSelect6;
    const size_t header = brief ? 4 : 8;
    if (cdb(task)[1] & kSavePages) return fail(task, Sense::invalid_cdb(1, 0));
    if (list.size() < header) return fail(task, Sense::illegal(kParameterListLengthError));
    const size_t descriptor = brief ? list[3] : load_big_endian<u16>(&list[6]);
    if (list.size() - header < descriptor) return fail(task, Sense::illegal(kParameterListLengthError));
    if (const auto wrong = select_block_descriptor(std::span(list).subspan(header, descriptor), header))
        return fail(task, *wrong);
    bool changed = false;
    if (const auto wrong = mode_pages_.select(list, header + descriptor, changed)) return fail(task, *wrong);
    if (changed) {
        mode_changed();
        attention_to_others(task.command().nexus, kModeParametersChanged);
    }
    finish(task);
}

std::optional<std::vector<u8>> Unit::mode_data(Task& task, std::vector<u8> descriptor) {
    constexpr u8 kNoDescriptors = 0x08;
    const Cdb& bytes = cdb(task);
    const auto control = static_cast<ModePages::Control>(bytes[2] >> 6);
    if (control == ModePages::Control::saved) {
        fail(task, Sense::illegal(kSavingParametersNotSupported));
        return std::nullopt;
    }
    auto pages = mode_pages_.sense(control, bytes[2] & 0x3F, bytes[3]);
    if (!pages) {
        fail(task, Sense::invalid_cdb(2, 5));
        return std::nullopt;
    }
    std::vector<u8> data;
    if (!(bytes[1] & kNoDescriptors)) data = std::move(descriptor);
    const size_t descriptors = data.size();
    data.insert(data.end(), pages->begin(), pages->end());
    data.insert(data.begin(), static_cast<u8>(descriptors));  // for the caller's header
    return data;
}

void Unit::mode_sense_6(Task& task) {
    auto data = mode_data(task, block_descriptor(false));
    if (!data) return;
    const u8 descriptors = (*data)[0];
    std::vector<u8> answer = {0, mode_medium_type(), mode_device_parameter(), descriptors};
    answer.insert(answer.end(), data->begin() + 1, data->end());
    answer[0] = static_cast<u8>(std::min<size_t>(answer.size() - 1, 0xFF));
    reply(task, std::move(answer), cdb(task)[4]);
}

void Unit::mode_sense_10(Task& task) {
    const bool long_lba = cdb(task)[1] & 0x10;
    auto data = mode_data(task, block_descriptor(long_lba));
    if (!data) return;
    const u8 descriptors = (*data)[0];
    std::vector<u8> answer = {0, 0, mode_medium_type(), mode_device_parameter(), 0, 0, 0, descriptors};
    if (long_lba && descriptors) answer[4] = 0x01;
    answer.insert(answer.end(), data->begin() + 1, data->end());
    store_big_endian(&answer[0], static_cast<u16>(answer.size() - 2));
    reply(task, std::move(answer), load_big_endian<u16>(&cdb(task)[7]));
}

// SPC-4 6.33. No well-known units here, so SELECT REPORT 01h reports none.
void Unit::report_luns(Task& task) {
    const Cdb& bytes = cdb(task);
    const u32 allocation = load_big_endian<u32>(&bytes[6]);
    if (allocation < 16) return fail(task, Sense::invalid_cdb(6));
    if (bytes[2] > 2) return fail(task, Sense::invalid_cdb(2));
    std::vector<u8> data(8);
    if (bytes[2] != 1)
        for (const u64 lun : luns_) append_big_endian(data, lun);
    store_big_endian(&data[0], static_cast<u32>(data.size() - 8));
    reply(task, std::move(data), allocation);
}

std::vector<const Operation*> Unit::all_operations() const {
    std::vector<const Operation*> all;
    for (const auto table : {operations(), primary_operations()})
        for (const Operation& operation : table) all.push_back(&operation);
    std::stable_sort(all.begin(), all.end(), [](const Operation* a, const Operation* b) {
        return a->code != b->code ? a->code < b->code : a->service_action < b->service_action;
    });
    return all;
}

// SPC-4 6.35.
void Unit::report_operations(Task& task) {
    const Cdb& bytes = cdb(task);
    const u8 options = bytes[2] & 0x07;
    if (options) return report_one_operation(task);
    const bool timeouts = bytes[2] & 0x80;
    std::vector<u8> data(4);
    for (const Operation* operation : all_operations()) {
        const bool has_action = operation->service_action != Operation::kNoServiceAction;
        const u8 flags = static_cast<u8>((timeouts ? 0x02 : 0) | (has_action ? 0x01 : 0));
        const u8 action = has_action ? operation->service_action : 0;
        data.insert(data.end(), {operation->code, 0, 0, action, 0, flags, 0, operation->length});
        if (timeouts) data.insert(data.end(), {0, 0x0A, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
    }
    store_big_endian(&data[0], static_cast<u32>(data.size() - 4));
    reply(task, std::move(data), load_big_endian<u32>(&bytes[6]));
}

void Unit::report_one_operation(Task& task) {
    constexpr u8 kNotSupported = 0x01, kAsTheStandardSays = 0x03;
    const Cdb& bytes = cdb(task);
    const u8 options = bytes[2] & 0x07, code = bytes[3];
    const u16 action = load_big_endian<u16>(&bytes[4]);
    if (options > 3) return fail(task, Sense::invalid_cdb(2, 2));
    const Operation* found = nullptr;
    bool has_actions = false;
    for (const Operation* operation : all_operations()) {
        if (operation->code != code) continue;
        const bool plain = operation->service_action == Operation::kNoServiceAction;
        has_actions |= !plain;
        if (!found && (plain ? options != 2 && (options == 1 || action == 0) : operation->service_action == action))
            found = operation;
    }
    // Asking without a service action for a code that has some, or the other way round, is an error (table 256).
    if (options == 1 && has_actions) return fail(task, Sense::invalid_cdb(2, 2));
    if (options == 2 && !has_actions && knows_code(code)) return fail(task, Sense::invalid_cdb(2, 2));
    const bool timeouts = bytes[2] & 0x80;
    std::vector<u8> data = {0, found ? kAsTheStandardSays : kNotSupported};
    if (found) {
        if (timeouts) data[1] |= 0x80;
        append_big_endian(data, u16{found->length});
        data.push_back(found->code);
        for (unsigned i = 1; i < found->length; ++i) data.push_back(found->usage[i - 1]);
        if (found->service_action != Operation::kNoServiceAction)
            data[5] = static_cast<u8>((data[5] & 0xE0) | found->service_action);
        if (timeouts) data.insert(data.end(), {0, 0x0A, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
    } else {
        data.resize(4);
    }
    reply(task, std::move(data), load_big_endian<u32>(&bytes[6]));
}

// SPC-4 6.36: abort task, abort task set, clear task set, logical unit reset; and the I_T nexus reset.
void Unit::report_task_management(Task& task) {
    constexpr u8 kAbortTask = 0x80, kAbortTaskSet = 0x40, kClearTaskSet = 0x10, kUnitReset = 0x08;
    const bool extended = cdb(task)[2] & 0x80;
    std::vector<u8> data = {kAbortTask | kAbortTaskSet | kClearTaskSet | kUnitReset, 0x01, 0, 0};
    if (extended) {
        data[3] = 12;
        data.resize(16);
    }
    const u32 allocation = load_big_endian<u32>(&cdb(task)[6]);
    if (allocation < 4) return fail(task, Sense::invalid_cdb(6));
    reply(task, std::move(data), allocation);
}

void Unit::prevent_allow_removal(Task& task) {
    nexus_state(task.command().nexus).prevents_removal = cdb(task)[4] & 0x01;
    finish(task);
}

// SPC-4 6.42: the default self-test always passes; there are no others, and no diagnostic pages to be sent.
void Unit::send_diagnostic(Task& task) {
    constexpr u8 kSelfTestCode = 0xE0;
    if (cdb(task)[1] & kSelfTestCode) return fail(task, Sense::invalid_cdb(1, 7));
    if (load_big_endian<u16>(&cdb(task)[3])) return fail(task, Sense::invalid_cdb(3));
    finish(task);
}

// The page that lists the pages: itself.
void Unit::receive_diagnostic(Task& task) {
    const Cdb& bytes = cdb(task);
    const bool valid = bytes[1] & 0x01;
    if (valid && bytes[2]) return fail(task, Sense::invalid_cdb(2));
    reply(task, {0x00, 0x00, 0x00, 0x01, 0x00}, load_big_endian<u16>(&bytes[3]));
}

// SPC-4 6.8: the page that lists the pages, itself only.
void Unit::log_sense(Task& task) {
    const Cdb& bytes = cdb(task);
    if (bytes[1] & 0x01) return fail(task, Sense::invalid_cdb(1, 0));
    if (bytes[2] & 0x3F) return fail(task, Sense::invalid_cdb(2, 5));
    if (bytes[3]) return fail(task, Sense::invalid_cdb(3));
    reply(task, {0x00, 0x00, 0x00, 0x01, 0x00}, load_big_endian<u16>(&bytes[7]));
}

// READ and WRITE BUFFER: the echo buffer, with which parallel buses are tried out (SPC-4 6.16 and 6.49).

void Unit::read_buffer(Task& task) {
    constexpr u8 kDescriptor = 0x03, kEcho = 0x0A, kEchoDescriptor = 0x0B;
    const Cdb& bytes = cdb(task);
    const u32 length = u32{bytes[6]} << 16 | u32{bytes[7]} << 8 | bytes[8];
    switch (bytes[1] & 0x1F) {
        case kDescriptor:
            return reply(task, {0, 0, 0, 0}, length);
        case kEchoDescriptor:
            return reply(task, {0, 0, static_cast<u8>(kEchoBytes >> 8 & 0x1F), static_cast<u8>(kEchoBytes)}, length);
        case kEcho:
            if (echo_.empty()) return fail(task, Sense::illegal(kCommandSequenceError));
            return reply(task, echo_, length);
        default:
            return fail(task, Sense::invalid_cdb(1, 4));
    }
}

void Unit::write_buffer(Task& task) {
    constexpr u8 kEcho = 0x0A;
    const Cdb& bytes = cdb(task);
    const u32 length = u32{bytes[6]} << 16 | u32{bytes[7]} << 8 | bytes[8];
    if ((bytes[1] & 0x1F) != kEcho) return fail(task, Sense::invalid_cdb(1, 4));
    if (length > kEchoBytes) return fail(task, Sense::invalid_cdb(6));
    want_parameters(task, length, kEchoBytes);
}

void Unit::write_buffer_end(Task& task) {
    echo_ = take_buffer(task);
    finish(task);
}

}  // namespace lodge::scsi
