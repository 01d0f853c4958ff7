/* SSE and SSE2: float matrices, and 16-byte integer vectors that copy and search. */
#include "bench.h"

#include <emmintrin.h>

enum { kSide = 96, kCopied = 16384, kSearched = 16384 };

uint64_t run_matmul(uint32_t work) {
    static float a[kSide][kSide], b[kSide][kSide], c[kSide][kSide];
    uint64_t random = 8;
    for (int i = 0; i < kSide; ++i) {
        for (int j = 0; j < kSide; ++j) {
            a[i][j] = (float)(next_random(&random) % 1000) / 999;
            b[i][j] = (float)(next_random(&random) % 1000) / 4096;
            c[i][j] = 0;
        }
    }
    while (work--)
        for (int i = 0; i < kSide; ++i)
            for (int k = 0; k < kSide; ++k)
                for (int j = 0; j < kSide; ++j) c[i][j] += a[i][k] * b[k][j];
    return checksum_bytes(c, sizeof c);
}

static uint8_t source[kCopied] __attribute__((aligned(64))), target[kCopied + 64] __attribute__((aligned(64)));

void prepare_simd(void) {
    uint64_t random = 9;
    for (uint32_t i = 0; i < kCopied; ++i) source[i] = (uint8_t)(next_random(&random) | 1);
}

/* Copies 16 bytes at a time to changing alignments, adding and blending on the way. */
uint64_t run_simd_copy(uint32_t work) {
    __m128i sum = _mm_setzero_si128();
    while (work--) {
        uint8_t* to = target + work % 16;
        for (uint32_t i = 0; i < kCopied; i += 32) {
            const __m128i first = _mm_load_si128((const __m128i*)(source + i));
            const __m128i second = _mm_load_si128((const __m128i*)(source + i + 16));
            sum = _mm_add_epi32(sum, _mm_xor_si128(first, second));
            _mm_storeu_si128((__m128i*)(to + i), first);
            _mm_storeu_si128((__m128i*)(to + i + 16), _mm_add_epi8(second, first));
        }
    }
    return checksum_bytes(&sum, sizeof sum) ^ checksum_bytes(target, sizeof target);
}

/* For the byte value 0, which `source` has nowhere, and for the first place of 255 other values. */
uint64_t run_simd_search(uint32_t work) {
    uint64_t checksum = 0;
    while (work--) {
        const __m128i wanted = _mm_set1_epi8((char)(work & 0xFE));
        uint32_t at = 0, found = 0;
        for (; at < kSearched && !found; at += 16) {
            const __m128i bytes = _mm_load_si128((const __m128i*)(source + at));
            found = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, wanted));
        }
        checksum = stir(checksum, at);
    }
    return checksum;
}
