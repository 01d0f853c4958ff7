#include "disks/iscsi/hashes.h"

#include <array>
#include <bit>
#include <utility>

namespace lodge::iscsi {

namespace {

constexpr size_t kBlock = 64;

// Both pad alike: a bit that is set, zeros, and the message's length in bits in the last eight bytes of a block.
std::vector<u8> padded(std::span<const u8> message, bool big_endian) {
    std::vector<u8> data(message.begin(), message.end());
    data.push_back(0x80);
    data.resize(align_up(data.size() + 8, kBlock));
    const u64 length = u64{message.size()} * 8;
    u8* const end = data.data() + data.size() - 8;
    if (big_endian) {
        store_big_endian(end, length);
    } else {
        store(end, length);
    }
    return data;
}

// RFC 1321 3.4: the integer part of 2^32 |sin i|, i in radians.
constexpr std::array<u32, 64> kSines = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391};

void md5_block(std::array<u32, 4>& sum, const u8* block) {
    constexpr int kTurns[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
    auto [a, b, c, d] = sum;
    for (unsigned step = 0; step < 64; ++step) {
        const unsigned round = step / 16;
        u32 mixed = 0;
        unsigned word = 0;
        switch (round) {
            case 0:
                mixed = (b & c) | (~b & d);
                word = step;
                break;
            case 1:
                mixed = (b & d) | (c & ~d);
                word = (5 * step + 1) % 16;
                break;
            case 2:
                mixed = b ^ c ^ d;
                word = (3 * step + 5) % 16;
                break;
            default:
                mixed = c ^ (b | ~d);
                word = (7 * step) % 16;
        }
        const u32 all = a + mixed + kSines[step] + load<u32>(block + 4 * word);
        a = d;
        d = c;
        c = b;
        b += std::rotl(all, kTurns[round][step % 4]);
    }
    sum[0] += a;
    sum[1] += b;
    sum[2] += c;
    sum[3] += d;
}

// FIPS 180-4 4.2.2: of the cube roots of the first 64 primes.
constexpr std::array<u32, 64> kRoots = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

void sha256_block(std::array<u32, 8>& sum, const u8* block) {
    std::array<u32, 64> words{};
    for (size_t i = 0; i < 16; ++i) words[i] = load_big_endian<u32>(block + 4 * i);
    for (size_t i = 16; i < 64; ++i) {
        const u32 x = words[i - 15], y = words[i - 2];
        const u32 small_x = std::rotr(x, 7) ^ std::rotr(x, 18) ^ (x >> 3);
        const u32 small_y = std::rotr(y, 17) ^ std::rotr(y, 19) ^ (y >> 10);
        words[i] = words[i - 16] + small_x + words[i - 7] + small_y;
    }
    auto [a, b, c, d, e, f, g, h] = sum;
    for (size_t i = 0; i < 64; ++i) {
        const u32 choice = (e & f) ^ (~e & g), majority = (a & b) ^ (a & c) ^ (b & c);
        const u32 big_e = std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25);
        const u32 big_a = std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22);
        const u32 first = h + big_e + choice + kRoots[i] + words[i];
        h = std::exchange(g, std::exchange(f, std::exchange(e, d + first)));
        d = std::exchange(c, std::exchange(b, std::exchange(a, first + big_a + majority)));
    }
    const std::array<u32, 8> added{a, b, c, d, e, f, g, h};
    for (size_t i = 0; i < 8; ++i) sum[i] += added[i];
}

}  // namespace

std::vector<u8> md5(std::span<const u8> message) {
    std::array<u32, 4> sum{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    const std::vector<u8> data = padded(message, false);
    for (size_t at = 0; at < data.size(); at += kBlock) md5_block(sum, &data[at]);
    std::vector<u8> result(16);
    for (size_t i = 0; i < 4; ++i) store(&result[4 * i], sum[i]);
    return result;
}

std::vector<u8> sha256(std::span<const u8> message) {
    std::array<u32, 8> sum{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                           0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    const std::vector<u8> data = padded(message, true);
    for (size_t at = 0; at < data.size(); at += kBlock) sha256_block(sum, &data[at]);
    std::vector<u8> result(32);
    for (size_t i = 0; i < 8; ++i) store_big_endian(&result[4 * i], sum[i]);
    return result;
}

}  // namespace lodge::iscsi
