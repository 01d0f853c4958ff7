#include "disks/scsi/cd_sector.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace lodge::scsi {

namespace {

constexpr size_t kHeader = kCdSyncBytes;
constexpr size_t kData = kHeader + kCdHeaderBytes;
constexpr size_t kEdc = kData + kCdDataBytes;
constexpr size_t kParityP = kEdc + 4 + 8;  // after eight bytes of zeros
constexpr size_t kParityQ = kParityP + 172;

u8 bcd(u8 value) {
    return static_cast<u8>(value / 10 << 4 | value % 10);
}

// x^32 + x^31 + x^16 + x^15 + x^4 + x^3 + x + 1, lowest bit first (ECMA-130 14.3).
constexpr std::array<u32, 256> make_edc_table() {
    constexpr u32 kPolynomial = 0xD801'8001;
    std::array<u32, 256> table{};
    for (u32 byte = 0; byte < 256; ++byte) {
        u32 value = byte;
        for (int i = 0; i < 8; ++i) value = value >> 1 ^ (value & 1 ? kPolynomial : 0);
        table[byte] = value;
    }
    return table;
}

u32 edc(std::span<const u8> bytes) {
    static constexpr std::array<u32, 256> kTable = make_edc_table();
    u32 value = 0;
    for (const u8 byte : bytes) value = value >> 8 ^ kTable[(value ^ byte) & 0xFF];
    return value;
}

// Multiplication by x in the field of annex A: GF(2^8) over x^8 + x^4 + x^3 + x^2 + 1.
constexpr u8 twice(u8 value) {
    return static_cast<u8>(value << 1 ^ (value & 0x80 ? 0x1D : 0));
}

// Division by x + 1.
constexpr std::array<u8, 256> make_inverse() {
    std::array<u8, 256> table{};
    for (unsigned value = 0; value < 256; ++value)
        table[twice(static_cast<u8>(value)) ^ value] = static_cast<u8>(value);
    return table;
}

// The two parity bytes p0 and p1 of a code word: its bytes, with them, sum to 0, and so do they when each is multiplied
// by the power of x that its place has.
struct Parity {
    u8 sum = 0;       // of the data, each
    u8 weighted = 0;  // by x^(its distance from the first parity byte's place, less one)
    void add(u8 byte) {
        weighted = twice(static_cast<u8>(weighted ^ byte));
        sum ^= byte;
    }
    // Both sums are zero with p0 at weight x and p1 at weight 1: p0 (x + 1) = weighted x + sum.
    std::pair<u8, u8> finish() const {
        static constexpr std::array<u8, 256> kInverse = make_inverse();
        const u8 first = kInverse[twice(weighted) ^ sum];
        return {first, static_cast<u8>(first ^ sum)};
    }
};

// Annex A: P words are columns of a matrix of 43 bytes by 24, Q words its diagonals; bytes come in two planes, even and
// odd. `bytes` is the sector from its header on.
void add_parity(u8* bytes, u8* parity, unsigned words, unsigned length, unsigned first_step, unsigned step,
                unsigned modulus) {
    for (unsigned word = 0; word < words; ++word) {
        Parity sums;
        unsigned at = (word >> 1) * first_step + (word & 1);
        for (unsigned i = 0; i < length; ++i) {
            sums.add(bytes[at]);
            at += step;
            if (at >= modulus) at -= modulus;
        }
        const auto [first, second] = sums.finish();
        parity[word] = first;
        parity[words + word] = second;
    }
}

}  // namespace

std::array<u8, 3> cd_msf(u64 lba) {
    const u64 frames = lba + kCdLeadIn;
    return {static_cast<u8>(frames / kCdSectorsPerSecond / 60), static_cast<u8>(frames / kCdSectorsPerSecond % 60),
            static_cast<u8>(frames % kCdSectorsPerSecond)};
}

std::array<u8, kCdSectorBytes> cd_sector(u64 lba, std::span<const u8> data) {
    assert(data.size() == kCdDataBytes);
    std::array<u8, kCdSectorBytes> sector{};
    std::fill_n(sector.begin() + 1, kCdSyncBytes - 2, u8{0xFF});
    const auto msf = cd_msf(lba);
    std::transform(msf.begin(), msf.end(), sector.begin() + kHeader, bcd);
    sector[kHeader + 3] = 1;  // mode
    std::copy(data.begin(), data.end(), sector.begin() + kData);
    store(&sector[kEdc], edc(std::span(sector).first(kEdc)));
    add_parity(&sector[kHeader], &sector[kParityP], 86, 24, 2, 86, 2064);
    add_parity(&sector[kHeader], &sector[kParityQ], 52, 43, 86, 88, 2236);
    return sector;
}

}  // namespace lodge::scsi
