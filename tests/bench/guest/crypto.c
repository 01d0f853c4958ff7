/* AES-128 (FIPS 197) by tables and by AES-NI, each block chained to the next; and Montgomery products.
 *
 * `aes` does what a crypto library does: AES-NI where CPUID has it, tables elsewhere. Both give the same checksum. */
#include "bench.h"

#include <cpuid.h>
#include <wmmintrin.h>

enum { kRounds = 10 };

static uint8_t sbox[256];
static uint32_t tables[4][256];
static uint32_t round_keys[4 * (kRounds + 1)];

static uint8_t double_in_field(uint8_t x) { return (uint8_t)(x << 1 ^ (x & 0x80 ? 0x1B : 0)); }
static uint32_t rotate_left(uint32_t x, int count) { return count ? x << count | x >> (32 - count) : x; }

/* Walks the field by the generator 3 and, beside it, by its inverse: q is 1/p throughout. */
static void make_sbox(void) {
    uint8_t p = 1, q = 1;
    do {
        p = (uint8_t)(p ^ double_in_field(p));
        q ^= (uint8_t)(q << 1);
        q ^= (uint8_t)(q << 2);
        q ^= (uint8_t)(q << 4);
        if (q & 0x80) q ^= 0x09;
        uint8_t affine = q;
        for (int i = 1; i < 5; ++i) affine ^= (uint8_t)(q << i | q >> (8 - i));
        sbox[p] = affine ^ 0x63;
    } while (p != 1);
    sbox[0] = 0x63;
}

static uint32_t substitute(uint32_t word) {
    return sbox[word & 255] | (uint32_t)sbox[word >> 8 & 255] << 8 | (uint32_t)sbox[word >> 16 & 255] << 16 |
           (uint32_t)sbox[word >> 24] << 24;
}

/* Columns are little-endian words: row 0 is the low byte. */
void prepare_aes(void) {
    make_sbox();
    for (int i = 0; i < 256; ++i) {
        const uint32_t s = sbox[i], twice = double_in_field(sbox[i]);
        const uint32_t column = twice | s << 8 | s << 16 | (twice ^ s) << 24;
        for (int row = 0; row < 4; ++row) tables[row][i] = rotate_left(column, 8 * row);
    }
    uint8_t constant = 1;
    for (uint32_t i = 0; i < 4 * (kRounds + 1); ++i) {
        if (i < 4) {
            round_keys[i] = 0x01234567u * (i + 1);
            continue;
        }
        uint32_t word = round_keys[i - 1];
        if (i % 4 == 0) {
            word = substitute(rotate_left(word, 24)) ^ constant;
            constant = double_in_field(constant);
        }
        round_keys[i] = round_keys[i - 4] ^ word;
    }
}

static void encrypt_by_table(uint32_t* block) {
    uint32_t s[4], t[4];
    for (int i = 0; i < 4; ++i) s[i] = block[i] ^ round_keys[i];
    for (int round = 1; round < kRounds; ++round) {
        for (int i = 0; i < 4; ++i)
            t[i] = tables[0][s[i] & 255] ^ tables[1][s[(i + 1) & 3] >> 8 & 255] ^
                   tables[2][s[(i + 2) & 3] >> 16 & 255] ^ tables[3][s[(i + 3) & 3] >> 24] ^ round_keys[4 * round + i];
        for (int i = 0; i < 4; ++i) s[i] = t[i];
    }
    for (int i = 0; i < 4; ++i) {
        const uint32_t shifted = (s[i] & 0xFF) | (s[(i + 1) & 3] & 0xFF00) | (s[(i + 2) & 3] & 0xFF0000) |
                                 (s[(i + 3) & 3] & 0xFF000000);
        block[i] = substitute(shifted) ^ round_keys[4 * kRounds + i];
    }
}

uint64_t run_aes_table(uint32_t work) {
    uint32_t block[4] = {0};
    for (uint32_t i = 0; i < work; ++i) {
        block[0] ^= i;
        encrypt_by_table(block);
    }
    return checksum_bytes(block, sizeof block);
}

static bool has_aes_instructions(void) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_AES);
}

static __attribute__((target("aes,sse2"))) uint64_t run_aes_instructions(uint32_t work) {
    __m128i keys[kRounds + 1], block = _mm_setzero_si128();
    for (int i = 0; i <= kRounds; ++i) keys[i] = _mm_loadu_si128((const __m128i*)(round_keys + 4 * i));
    for (uint32_t i = 0; i < work; ++i) {
        block = _mm_xor_si128(block, _mm_cvtsi32_si128((int)i));
        block = _mm_xor_si128(block, keys[0]);
        for (int round = 1; round < kRounds; ++round) block = _mm_aesenc_si128(block, keys[round]);
        block = _mm_aesenclast_si128(block, keys[kRounds]);
    }
    return checksum_bytes(&block, sizeof block);
}

uint64_t run_aes(uint32_t work) { return has_aes_instructions() ? run_aes_instructions(work) : run_aes_table(work); }

/* --- Montgomery multiplication, the operand scanning way, with the machine's own limbs. */

#ifdef __x86_64__
typedef uint64_t limb;
typedef unsigned __int128 two_limbs;
enum { kBits = 4096 };
#else
typedef uint32_t limb;
typedef uint64_t two_limbs;
enum { kBits = 2048 };
#endif
enum { kLimbBits = 8 * sizeof(limb), kLimbs = kBits / kLimbBits };

/* result = a * b / 2^kBits mod modulus, at most 2^kBits - 1; `inverse` is -1 / modulus mod 2^kLimbBits. */
static void multiply(limb* result, const limb* a, const limb* b, const limb* modulus, limb inverse) {
    limb sum[kLimbs + 2] = {0};
    for (int i = 0; i < kLimbs; ++i) {
        two_limbs carry = 0;
        for (int j = 0; j < kLimbs; ++j) {
            carry += (two_limbs)a[j] * b[i] + sum[j];
            sum[j] = (limb)carry;
            carry >>= kLimbBits;
        }
        carry += sum[kLimbs];
        sum[kLimbs] = (limb)carry;
        sum[kLimbs + 1] = (limb)(carry >> kLimbBits);
        const limb factor = sum[0] * inverse;
        carry = ((two_limbs)factor * modulus[0] + sum[0]) >> kLimbBits;
        for (int j = 1; j < kLimbs; ++j) {
            carry += (two_limbs)factor * modulus[j] + sum[j];
            sum[j - 1] = (limb)carry;
            carry >>= kLimbBits;
        }
        carry += sum[kLimbs];
        sum[kLimbs - 1] = (limb)carry;
        sum[kLimbs] = sum[kLimbs + 1] + (limb)(carry >> kLimbBits);
    }
    limb borrow = 0;
    for (int i = 0; i < kLimbs; ++i) {
        const limb take = sum[kLimbs] ? modulus[i] : 0;
        const two_limbs difference = (two_limbs)sum[i] - take - borrow;
        result[i] = (limb)difference;
        borrow = (limb)(difference >> kLimbBits) & 1;
    }
}

uint64_t run_bignum(uint32_t work) {
    union {
        limb limbs[kLimbs];
        uint32_t words[kBits / 32];
    } modulus, x;
    uint64_t random = 6;
    for (int i = 0; i < kBits / 32; ++i) modulus.words[i] = next_random(&random);
    for (int i = 0; i < kBits / 32; ++i) x.words[i] = next_random(&random);
    modulus.limbs[0] |= 1;
    modulus.words[kBits / 32 - 1] |= 0x80000000u;
    limb inverse = 1; /* Newton's iteration doubles the number of right bits */
    for (int bits = 1; bits < kLimbBits; bits *= 2) inverse *= 2 - modulus.limbs[0] * inverse;
    while (work--) multiply(x.limbs, x.limbs, x.limbs, modulus.limbs, (limb)0 - inverse);
    return checksum_bytes(x.words, sizeof x.words);
}
