/* Plain integer code: a sieve, sorting, and an interpreter of a little byte code. */
#include "bench.h"

enum { kSieveSize = 200000, kSortSize = 20000 };

uint64_t run_sieve(uint32_t work) {
    static uint8_t composite[kSieveSize];
    uint64_t checksum = 0;
    while (work--) {
        uint32_t primes = 0;
        for (uint32_t i = 0; i < kSieveSize; ++i) composite[i] = 0;
        for (uint32_t i = 2; i < kSieveSize; ++i) {
            if (composite[i]) continue;
            ++primes;
            for (uint32_t j = 2 * i; j < kSieveSize; j += i) composite[j] = 1;
        }
        checksum = stir(checksum, primes);
    }
    return checksum;
}

static void swap(uint32_t* a, uint32_t* b) {
    const uint32_t kept = *a;
    *a = *b;
    *b = kept;
}

/* Quicksort around the middle element; the larger half in the loop, short ranges by insertion. */
static void sort(uint32_t* first, uint32_t* last) {
    while (last - first > 12) {
        const uint32_t pivot = first[(last - first) / 2];
        uint32_t *low = first, *high = last;
        while (low <= high) {
            while (*low < pivot) ++low;
            while (*high > pivot) --high;
            if (low <= high) swap(low++, high--);
        }
        if (high - first < last - low) {
            sort(first, high);
            first = low;
        } else {
            sort(low, last);
            last = high;
        }
    }
    for (uint32_t* i = first + 1; i <= last; ++i) {
        const uint32_t value = *i;
        uint32_t* j = i;
        for (; j > first && j[-1] > value; --j) *j = j[-1];
        *j = value;
    }
}

uint64_t run_sort(uint32_t work) {
    static uint32_t numbers[kSortSize];
    uint64_t random = 1, checksum = 0;
    while (work--) {
        for (uint32_t i = 0; i < kSortSize; ++i) numbers[i] = next_random(&random);
        sort(numbers, numbers + kSortSize - 1);
        for (uint32_t i = 0; i < kSortSize; i += 97) checksum = stir(checksum, numbers[i]);
    }
    return checksum;
}

/* A stack machine with eight variables. Operands are one byte; jumps are to an absolute position. */
enum { PUSH, LOAD, STORE, ADD, SUB, MOD, LESS, JUMP, JUMP_IF_ZERO, HALT };

/* sum = 0; for (i = 1; i < 100; ++i) for (j = 1; j < 50; ++j) sum += gcd(i, j) */
static const uint8_t sum_of_gcds[] = {
    PUSH, 0, STORE, 0, PUSH, 1, STORE, 1,                           /*  0: sum = 0, i = 1 */
    LOAD, 1, PUSH, 100, LESS, JUMP_IF_ZERO, 70, PUSH, 1, STORE, 2,  /*  8: while (i < 100) j = 1 */
    LOAD, 2, PUSH, 50, LESS, JUMP_IF_ZERO, 61,                      /* 19: while (j < 50) */
    LOAD, 1, STORE, 3, LOAD, 2, STORE, 4,                           /* 26: a = i, b = j */
    LOAD, 4, JUMP_IF_ZERO, 51,                                      /* 34: while (b != 0) */
    LOAD, 3, LOAD, 4, MOD, LOAD, 4, STORE, 3, STORE, 4, JUMP, 34,   /* 38: a, b = b, a % b */
    LOAD, 0, LOAD, 3, ADD, STORE, 0, JUMP, 71, 0,                   /* 51: sum += a */
    LOAD, 1, PUSH, 1, ADD, STORE, 1, JUMP, 8,                       /* 61: ++i */
    HALT,                                                           /* 70 */
    LOAD, 2, PUSH, 1, ADD, STORE, 2, JUMP, 19,                      /* 71: ++j */
};

static uint32_t interpret(const uint8_t* code) {
    uint32_t stack[16], variables[8] = {0}, *top = stack;
    const uint8_t* at = code;
    for (;;) {
        switch (*at++) {
            case PUSH: *top++ = *at++; break;
            case LOAD: *top++ = variables[*at++]; break;
            case STORE: variables[*at++] = *--top; break;
            case ADD: --top; top[-1] += *top; break;
            case SUB: --top; top[-1] -= *top; break;
            case MOD: --top; top[-1] %= *top; break;
            case LESS: --top; top[-1] = top[-1] < *top; break;
            case JUMP: at = code + *at; break;
            case JUMP_IF_ZERO: at = *--top ? at + 1 : code + *at; break;
            case HALT: return variables[0];
        }
    }
}

uint64_t run_bytecode(uint32_t work) {
    uint64_t checksum = 0;
    while (work--) checksum = stir(checksum, interpret(sum_of_gcds));
    return checksum;
}
