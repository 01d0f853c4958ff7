#include "devices/e1000_registers.h"

#include <algorithm>

namespace lodge::e1000 {

namespace {

constexpr RegisterRow kRows[] = {
#define REGISTER(name, offset, count, kind, writable, reset) \
    {#name, offset, count, RegisterKind::kind, writable, reset},
#include "devices/e1000_registers.inc"
#undef REGISTER
};

constexpr u8 kNone = 0xFF;
static_assert(std::size(kRows) < kNone);

using RowIndex = std::array<u8, RegisterFile::kNamed / 4>;

constexpr RowIndex make_index() {
    RowIndex index{};
    for (u8& row : index) row = kNone;
    for (u8 row = 0; row < std::size(kRows); ++row)
        for (u32 word = 0; word < kRows[row].count; ++word) index[kRows[row].offset / 4 + word] = row;
    return index;
}

constexpr RowIndex kIndex = make_index();

}  // namespace

const RegisterRow* RegisterFile::find(u32 offset) {
    if (offset >= kNamed || kIndex[offset / 4] == kNone) return nullptr;
    return &kRows[kIndex[offset / 4]];
}

std::span<const RegisterRow> RegisterFile::rows() {
    return kRows;
}

u32 RegisterFile::read(const RegisterRow& row, u32 offset) {
    const u32 value = (*this)[offset];
    if (row.kind == RegisterKind::counter || row.kind == RegisterKind::high) (*this)[offset] = 0;
    if (row.kind == RegisterKind::high) (*this)[offset - 4] = 0;
    return value;
}

void RegisterFile::write(const RegisterRow& row, u32 offset, u32 value) {
    u32& target = (*this)[offset];
    target = replace_bits(target, row.writable, value);
}

void RegisterFile::count(u32 counter, u32 by) {
    u32& value = (*this)[counter];
    value = by > ~value ? ~u32{0} : value + by;
}

void RegisterFile::count_long(u32 low, u64 by) {
    const u64 value = (*this)[low] | u64{(*this)[low + 4]} << 32;
    const u64 sum = by > ~value ? ~u64{0} : value + by;
    (*this)[low] = static_cast<u32>(sum);
    (*this)[low + 4] = static_cast<u32>(sum >> 32);
}

void RegisterFile::reset() {
    values_.fill(0);
    for (const RegisterRow& row : kRows)
        for (u32 word = 0; word < row.count; ++word) values_[row.offset / 4 + word] = row.reset;
}

void RegisterFile::state(StateIo& io) {
    for (const RegisterRow& row : kRows)
        io.bytes(row.name, std::span<u8>(reinterpret_cast<u8*>(&values_[row.offset / 4]), row.count * sizeof(u32)));
}

}  // namespace lodge::e1000
