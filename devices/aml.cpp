#include "devices/aml.h"

#include <algorithm>
#include <cassert>

namespace lodge::aml {

namespace {

constexpr u8 kExtended = 0x5B;

template <class T>
void append(Bytes& to, T value) {
    const size_t at = to.size();
    to.resize(at + sizeof value);
    lodge::store(&to[at], value);
}

void append(Bytes& to, const Bytes& bytes) {
    to.insert(to.end(), bytes.begin(), bytes.end());
}

Bytes join(std::initializer_list<Bytes> parts) {
    Bytes all;
    for (const Bytes& part : parts) append(all, part);
    return all;
}

Bytes join(const Terms& parts) {
    Bytes all;
    for (const Bytes& part : parts) append(all, part);
    return all;
}

// PkgLength (ACPI 2.0 17.2.4) of `content` and itself: one byte up to 63, else a nibble and one to three bytes.
Bytes package_length(size_t content) {
    if (content + 1 < 0x40) return {static_cast<u8>(content + 1)};
    for (unsigned more = 1; more <= 3; ++more) {
        const size_t total = content + 1 + more;
        if (total >> (4 + 8 * more)) continue;
        Bytes bytes{static_cast<u8>(more << 6 | (total & 0xF))};
        for (unsigned i = 0; i < more; ++i) bytes.push_back(static_cast<u8>(total >> (4 + 8 * i)));
        return bytes;
    }
    assert(!"AML package too long");
    return {};
}

// Opcode, length, content.
Bytes packaged(Bytes opcode, const Bytes& content) {
    append(opcode, package_length(content.size()));
    append(opcode, content);
    return opcode;
}

void append_segment(Bytes& to, std::string_view segment) {
    assert(!segment.empty() && segment.size() <= 4);
    for (size_t i = 0; i < 4; ++i) to.push_back(static_cast<u8>(i < segment.size() ? segment[i] : '_'));
}

// A word, double word or quad word address space descriptor, ACPI 2.0 6.4.3.5. T is the width of its numbers.
template <class T>
Bytes address_window(u8 tag, u8 resource_type, u8 type_flags, T first, T last) {
    constexpr u8 kFixedEnds = 0x0C;  // _MIF, _MAF; producer, positive decode
    Bytes descriptor{tag};
    append(descriptor, static_cast<u16>(3 + 5 * sizeof(T)));
    append(descriptor, Bytes{resource_type, kFixedEnds, type_flags});
    append(descriptor, T{0});  // granularity
    append(descriptor, first);
    append(descriptor, last);
    append(descriptor, T{0});  // translation
    append(descriptor, static_cast<T>(last - first + 1));
    return descriptor;
}

constexpr u8 kWordWindow = 0x88;
constexpr u8 kDoubleWordWindow = 0x87;

}  // namespace

Bytes path(std::string_view path) {
    Bytes bytes;
    while (!path.empty() && (path.front() == '\\' || path.front() == '^')) {
        bytes.push_back(static_cast<u8>(path.front()));
        path.remove_prefix(1);
    }
    const size_t segments = path.empty() ? 0 : 1 + static_cast<size_t>(std::count(path.begin(), path.end(), '.'));
    if (segments == 0) bytes.push_back(0);     // NullName
    if (segments == 2) bytes.push_back(0x2E);  // DualNamePrefix
    if (segments > 2) append(bytes, Bytes{0x2F, static_cast<u8>(segments)});
    for (size_t i = 0; i < segments; ++i) {
        const size_t dot = std::min(path.find('.'), path.size());
        append_segment(bytes, path.substr(0, dot));
        path.remove_prefix(std::min(dot + 1, path.size()));
    }
    return bytes;
}

Bytes integer(u64 value) {
    if (value <= 1) return {static_cast<u8>(value)};  // ZeroOp, OneOp
    Bytes bytes;
    if (value <= 0xFF) {
        append(bytes, Bytes{0x0A, static_cast<u8>(value)});
    } else if (value <= 0xFFFF) {
        bytes.push_back(0x0B);
        append(bytes, static_cast<u16>(value));
    } else if (value <= 0xFFFFFFFF) {
        bytes.push_back(0x0C);
        append(bytes, static_cast<u32>(value));
    } else {
        bytes.push_back(0x0E);
        append(bytes, value);
    }
    return bytes;
}

Bytes string(std::string_view text) {
    Bytes bytes{0x0D};
    for (const char letter : text) bytes.push_back(static_cast<u8>(letter));
    bytes.push_back(0);
    return bytes;
}

Bytes buffer(const Bytes& content) {
    return packaged({0x11}, join({integer(content.size()), content}));
}

Bytes package(const Terms& elements) {
    assert(elements.size() <= 255);
    return packaged({0x12}, join({Bytes{static_cast<u8>(elements.size())}, join(elements)}));
}

Bytes eisa_id(std::string_view id) {
    assert(id.size() == 7);
    u32 packed = 0;
    for (char letter : id.substr(0, 3)) packed = packed << 5 | (static_cast<u32>(letter - '@') & 0x1F);
    for (char digit : id.substr(3))
        packed = packed << 4 | static_cast<u32>(digit <= '9' ? digit - '0' : digit - 'A' + 10);
    Bytes bytes{0x0C, 0, 0, 0, 0};
    store_big_endian(&bytes[1], packed);
    return bytes;
}

Bytes name(std::string_view path, const Bytes& value) {
    return join({Bytes{0x08}, aml::path(path), value});
}

Bytes scope(std::string_view path, const Terms& terms) {
    return packaged({0x10}, join({aml::path(path), join(terms)}));
}

Bytes device(std::string_view path, const Terms& terms) {
    return packaged({kExtended, 0x82}, join({aml::path(path), join(terms)}));
}

Bytes processor(std::string_view path, u8 id) {
    const Bytes no_block{0, 0, 0, 0, 0};  // PblkAddress, PblkLen
    return packaged({kExtended, 0x83}, join({aml::path(path), Bytes{id}, no_block}));
}

Bytes method(std::string_view path, unsigned arguments, const Terms& terms) {
    assert(arguments <= 7);
    return packaged({0x14}, join({aml::path(path), Bytes{static_cast<u8>(arguments)}, join(terms)}));
}

Bytes operation_region(std::string_view path, Space space, u32 offset, u32 length) {
    return join(
        {Bytes{kExtended, 0x80}, aml::path(path), Bytes{static_cast<u8>(space)}, integer(offset), integer(length)});
}

Bytes field(std::string_view region, const std::vector<FieldUnit>& units) {
    constexpr u8 kByteAccess = 0x01;
    Bytes content = join({aml::path(region), Bytes{kByteAccess}});
    for (const FieldUnit& unit : units) {
        if (unit.name.empty())
            content.push_back(0);  // ReservedField
        else
            append_segment(content, unit.name);
        // A field's length has PkgLength's form, but counts bits and not itself.
        assert(unit.bits < 0x40);
        content.push_back(static_cast<u8>(unit.bits));
    }
    return packaged({kExtended, 0x81}, content);
}

Bytes argument(unsigned index) {
    assert(index <= 6);
    return {static_cast<u8>(0x68 + index)};
}

Bytes local(unsigned index) {
    assert(index <= 7);
    return {static_cast<u8>(0x60 + index)};
}

Bytes return_(const Bytes& value) {
    return join({Bytes{0xA4}, value});
}

Bytes store(const Bytes& value, const Bytes& target) {
    return join({Bytes{0x70}, value, target});
}

Bytes and_(const Bytes& left, const Bytes& right, const Bytes& target) {
    return join({Bytes{0x7B}, left, right, target});
}

Bytes or_(const Bytes& left, const Bytes& right, const Bytes& target) {
    return join({Bytes{0x7D}, left, right, target});
}

Bytes if_(const Bytes& condition, const Terms& terms) {
    return packaged({0xA0}, join({condition, join(terms)}));
}

Bytes create_dword_field(const Bytes& source, u64 byte_index, std::string_view name) {
    return join({Bytes{0x8A}, source, integer(byte_index), path(name)});
}

Bytes call(std::string_view path, const Terms& arguments) {
    return join({aml::path(path), join(arguments)});
}

Bytes resources(const Terms& descriptors) {
    // The end tag's checksum 0 means "treat as correct".
    return buffer(join({join(descriptors), Bytes{0x79, 0x00}}));
}

Bytes io(u16 base, u8 length) {
    Bytes descriptor{0x47, 0x01};  // decodes 16 bits
    append(descriptor, base);
    append(descriptor, base);
    append(descriptor, Bytes{0x01, length});
    return descriptor;
}

Bytes dma(unsigned channel) {
    assert(channel < 4);
    return {0x2A, static_cast<u8>(1u << channel), 0x00};
}

Bytes irq(unsigned number) {
    assert(number < 16);
    Bytes descriptor{0x22};
    append(descriptor, static_cast<u16>(1u << number));
    return descriptor;
}

Bytes level_interrupts(const std::vector<u32>& numbers) {
    constexpr u8 kConsumerShared = 0x09;  // level, active high
    Bytes descriptor{0x89};
    append(descriptor, static_cast<u16>(2 + 4 * numbers.size()));
    append(descriptor, Bytes{kConsumerShared, static_cast<u8>(numbers.size())});
    for (u32 number : numbers) append(descriptor, number);
    return descriptor;
}

Bytes bus_window(u16 first, u16 last) {
    return address_window<u16>(kWordWindow, 2, 0, first, last);
}

Bytes io_window(u16 first, u16 last) {
    constexpr u8 kWholeRange = 0x03;  // ISA and non-ISA addresses
    return address_window<u16>(kWordWindow, 1, kWholeRange, first, last);
}

Bytes memory_window(u32 first, u32 last, bool cacheable) {
    constexpr u8 kWritable = 0x01;
    constexpr u8 kCacheable = 0x02;
    return address_window<u32>(kDoubleWordWindow, 0, cacheable ? kWritable | kCacheable : kWritable, first, last);
}

}  // namespace lodge::aml
