/* The string instructions with REP, short and long, by bytes and by words; and strlen as compilers write it. */
#include "bench.h"

enum { kBuffer = 131072, kText = 65536 };

static uint8_t from[kBuffer], to[kBuffer];
static char text[kText];
static uint32_t strings; /* how many are in `text` */

#ifdef __x86_64__
#define MOVE_WORDS "rep movsq"
#define STORE_WORDS "rep stosq"
#else
#define MOVE_WORDS "rep movsl"
#define STORE_WORDS "rep stosl"
#endif

static void move_bytes(void* target, const void* source, size_t count) {
    __asm__ volatile("rep movsb" : "+D"(target), "+S"(source), "+c"(count) : : "memory");
}
static void move_words(void* target, const void* source, size_t bytes) {
    size_t count = bytes / sizeof(long);
    __asm__ volatile(MOVE_WORDS : "+D"(target), "+S"(source), "+c"(count) : : "memory");
}
static void store_bytes(void* target, uint8_t value, size_t count) {
    __asm__ volatile("rep stosb" : "+D"(target), "+c"(count) : "a"(value) : "memory");
}
static void store_words(void* target, uint8_t value, size_t bytes) {
    size_t count = bytes / sizeof(long);
    const unsigned long pattern = ~0ul / 255 * value;
    __asm__ volatile(STORE_WORDS : "+D"(target), "+c"(count) : "a"(pattern) : "memory");
}
/* How far into `string` the byte is. */
static size_t scan(const char* string, char byte) {
    const char* at = string;
    size_t count = ~(size_t)0;
    __asm__ volatile("repne scasb" : "+D"(at), "+c"(count) : "a"(byte) : "memory", "cc");
    return (size_t)(at - string) - 1;
}
/* How many of `count` bytes are left after the first pair that differs. */
static size_t compare(const void* a, const void* b, size_t count) {
    __asm__ volatile("repe cmpsb" : "+D"(a), "+S"(b), "+c"(count) : : "memory", "cc");
    return count;
}

/* Random bytes, and strings of 0 to 199 characters one behind the other. */
void prepare_strings(void) {
    uint64_t random = 10;
    for (uint32_t i = 0; i < kBuffer; ++i) from[i] = (uint8_t)next_random(&random), to[i] = 0;
    strings = 0;
    for (uint32_t at = 0; at + 200 < kText; ++strings) {
        const uint32_t length = next_random(&random) % 200;
        for (uint32_t i = 0; i < length; ++i) text[at++] = (char)('a' + next_random(&random) % 26);
        text[at++] = 0;
    }
}

uint64_t run_movs_small(uint32_t work) {
    while (work--) {
        uint32_t at = 0;
        for (uint32_t size = 1; size <= 256; ++size, at += 131) move_bytes(to + at, from + at + size, size);
        for (uint32_t size = 8; size <= 512; size += 8, at += 131) move_words(to + at, from + at + size, size);
    }
    return checksum_bytes(to, sizeof to);
}

uint64_t run_movs_large(uint32_t work) {
    while (work--) {
        for (uint32_t size = 4096; size <= kBuffer / 2; size *= 4) {
            move_bytes(to + work % 64, from + size / 4, size);
            move_words(to + size, from + work % 64, size);
        }
    }
    return checksum_bytes(to, sizeof to);
}

uint64_t run_stos(uint32_t work) {
    while (work--) {
        for (uint32_t size = 16; size <= kBuffer / 2; size *= 2) {
            store_bytes(to + size, (uint8_t)work, size);
            store_words(to + work % 64, (uint8_t)size, size);
        }
    }
    return checksum_bytes(to, sizeof to);
}

uint64_t run_scas(uint32_t work) {
    uint64_t checksum = 0;
    while (work--) {
        const char* at = text;
        for (uint32_t i = 0; i < strings; ++i) {
            const size_t length = scan(at, 0);
            checksum += length * (i + 1);
            at += length + 1;
        }
    }
    return checksum;
}

uint64_t run_cmps(uint32_t work) {
    uint64_t checksum = 0;
    move_bytes(to, from, kBuffer);
    for (uint32_t i = 0; i < kBuffer; i += 1 + i % 377) to[i] ^= 1;
    while (work--) {
        uint32_t at = 0;
        while (at < kBuffer) {
            const uint32_t left = (uint32_t)compare(to + at, from + at, kBuffer - at);
            at = kBuffer - left;
            checksum = checksum * 3 + at;
        }
    }
    return checksum;
}

static __attribute__((noinline)) size_t length_by_bytes(const char* string) {
    const char* at = string;
    while (*at) ++at;
    return (size_t)(at - string);
}

/* A word at a time: a byte of x is zero if subtracting 1 borrows into a top bit that x has clear. */
static __attribute__((noinline)) size_t length_by_words(const char* string) {
    typedef unsigned long word __attribute__((may_alias));
    const unsigned long ones = ~0ul / 255, tops = ones << 7;
    const char* at = string;
    for (; (uintptr_t)at % sizeof(word); ++at)
        if (!*at) return (size_t)(at - string);
    const word* words = (const word*)at;
    while (!((*words - ones) & ~*words & tops)) ++words;
    for (at = (const char*)words; *at;) ++at;
    return (size_t)(at - string);
}

uint64_t run_strlen(uint32_t work) {
    uint64_t checksum = 0;
    while (work--) {
        const char* at = text;
        for (uint32_t i = 0; i < strings; ++i) {
            const size_t length = i & 1 ? length_by_bytes(at) : length_by_words(at);
            checksum += length * (i + 1);
            at += length + 1;
        }
    }
    return checksum;
}
