// Integer names and bit helpers used everywhere.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace lodge {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i8 = std::int8_t;
using i16 = std::int16_t;
using i32 = std::int32_t;
using i64 = std::int64_t;
using u128 = unsigned __int128;
using i128 = __int128;

// Bits [low, low+width) of a value, right-aligned. width 1..63.
template <class T>
constexpr T bits(T value, unsigned low, unsigned width) {
    return static_cast<T>((value >> low) & ((T{1} << width) - 1));
}

template <class T>
constexpr bool bit(T value, unsigned index) {
    return (value >> index) & 1;
}

// `value` with the bits of `mask` replaced by those of `bits`.
template <class T>
constexpr T replace_bits(T value, T mask, T bits) {
    return static_cast<T>((value & ~mask) | (bits & mask));
}

// Unaligned little-endian access to host memory (the host is x86-64).
template <class T>
T load(const void* from) {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

template <class T>
void store(void* to, T value) {
    static_assert(std::is_trivially_copyable_v<T>);
    std::memcpy(to, &value, sizeof value);
}

// Big-endian access, as VHD and network formats need it.
template <class T>
T load_big_endian(const void* from) {
    T value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) value = static_cast<T>(value << 8 | static_cast<const u8*>(from)[i]);
    return value;
}

template <class T>
void store_big_endian(void* to, T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i)
        static_cast<u8*>(to)[i] = static_cast<u8>(value >> (8 * (sizeof(T) - 1 - i)));
}

constexpr u64 align_up(u64 value, u64 alignment) {
    return (value + alignment - 1) / alignment * alignment;
}
constexpr u64 align_down(u64 value, u64 alignment) {
    return value / alignment * alignment;
}

constexpr u64 kKiB = 1024;
constexpr u64 kMiB = 1024 * kKiB;
constexpr u64 kGiB = 1024 * kMiB;

}  // namespace lodge
