/* A guest benchmark: a function that does a fixed amount of work and returns a checksum of what it computed.
 *
 * The checksum must come out the same on every processor and emulator, so: no time, address, process number or
 * instruction with an unspecified result goes into it. The loops must not call the C library for their work either,
 * since that picks its routines by CPUID. */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct benchmark {
    const char* name;
    uint64_t (*run)(uint32_t work); /* timed */
    uint32_t work;                  /* how often `run` repeats its unit of work */
    void (*prepare)(void);          /* before the clock starts; may be null */
    bool machine_only;              /* touches hardware: not for a native run */
};

/* The same sequence everywhere: xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators").
 */
static inline uint32_t next_random(uint64_t* state) {
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return (uint32_t)((x * 0x2545F4914F6CDD1Dull) >> 32);
}

/* Stirs a value into a checksum. */
static inline uint64_t stir(uint64_t checksum, uint64_t value) {
    checksum = (checksum ^ value) * 0x9E3779B97F4A7C15ull;
    return checksum ^ (checksum >> 29);
}

/* Of whole 64-bit words. */
uint64_t checksum_bytes(const void* bytes, size_t size);
/* Ends the program if something a benchmark needs is not to be had. */
void require(bool condition, const char* what);

extern char* program_path;

uint64_t run_sieve(uint32_t), run_sort(uint32_t), run_bytecode(uint32_t);
uint64_t run_fib(uint32_t), run_dispatch(uint32_t), run_virtual(uint32_t);
uint64_t run_chase_16k(uint32_t), run_chase_256k(uint32_t), run_chase_8m(uint32_t);
uint64_t run_crc32(uint32_t), run_sha256(uint32_t);
uint64_t run_aes_table(uint32_t), run_aes(uint32_t), run_bignum(uint32_t);
uint64_t run_nbody_x87(uint32_t), run_nbody_sse(uint32_t), run_long_double(uint32_t), run_matmul(uint32_t);
uint64_t run_simd_copy(uint32_t), run_simd_search(uint32_t);
uint64_t run_movs_small(uint32_t), run_movs_large(uint32_t), run_stos(uint32_t), run_scas(uint32_t);
uint64_t run_cmps(uint32_t), run_strlen(uint32_t);
uint64_t run_code_writing(uint32_t);
uint64_t run_syscall(uint32_t), run_clock(uint32_t), run_signal(uint32_t), run_switch(uint32_t), run_pipe(uint32_t);
uint64_t run_fork(uint32_t), run_exec(uint32_t), run_faults(uint32_t);
uint64_t run_vga_memory(uint32_t), run_ports(uint32_t);

void prepare_dispatch(void), prepare_virtual(void);
void prepare_chase_16k(void), prepare_chase_256k(void), prepare_chase_8m(void);
void prepare_hash(void), prepare_aes(void), prepare_simd(void), prepare_strings(void);
void prepare_vga_memory(void), prepare_ports(void);

#endif
