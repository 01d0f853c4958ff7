/* A program that makes code as it runs, as the just-in-time compilers of browsers and Java do: it writes small functions
 * one behind the other into a page, calls each some times, and starts over on the same page. */
#include "bench.h"

#include <sys/mman.h>

enum { kPage = 4096, kFunction = 32, kCalls = 40 };

/* mov eax, imm32; lea eax, [rax + rax * 4 + imm8]; xor eax, imm32; ret */
static void write_function(uint8_t* at, uint32_t value, uint8_t addend, uint32_t mask) {
    *at++ = 0xB8;
    for (int i = 0; i < 4; ++i) *at++ = (uint8_t)(value >> (8 * i));
    *at++ = 0x8D;
    *at++ = 0x44;
    *at++ = 0x80;
    *at++ = addend;
    *at++ = 0x35;
    for (int i = 0; i < 4; ++i) *at++ = (uint8_t)(mask >> (8 * i));
    *at = 0xC3;
}

uint64_t run_code_writing(uint32_t work) {
    uint8_t* page = mmap(NULL, kPage, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(page != MAP_FAILED, "executable page");
    uint64_t random = 12, checksum = 0;
    for (uint32_t i = 0; i < work; ++i) {
        uint8_t* at = page + i * kFunction % kPage;
        write_function(at, next_random(&random), (uint8_t)i & 0x7F, next_random(&random));
        __builtin___clear_cache((char*)at, (char*)at + kFunction);
        uint32_t (*function)(void) = (uint32_t(*)(void))(uintptr_t)at;
        uint32_t sum = 0;
        for (int call = 0; call < kCalls; ++call) sum += function();
        checksum = stir(checksum, sum);
    }
    munmap(page, kPage);
    return checksum;
}
