/* Accesses that reach a device: the VGA's text memory through /dev/mem, and ports that every PC answers. */
#include "bench.h"

#include <fcntl.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    kTextMemory = 0xB8000,
    kTextBytes = 0x1000,
    kCells = 80 * 25,
    kDelayPort = 0x80,   /* POST code: chipsets take a write and do nothing */
    kNmiPort = 0x61,     /* NMI status and control */
    kCmosIndex = 0x70,
    kCmosData = 0x71,
    kSpareCmosByte = 0x60, /* in the second half, which the clock chip does not use */
};

static volatile uint16_t* cells;

/* How text mode addresses the card's memory: even bytes in plane 0, odd ones in plane 1, 32 KiB at B8000h. A kernel that
 * no firmware started finds the card in no mode at all. The rest of the mode does not matter here. */
static void address_as_text(void) {
    static const struct {
        uint16_t port;
        uint8_t index, value;
    } registers[] = {
        {0x3C4, 0x02, 0x03}, /* map mask: planes 0 and 1 */
        {0x3C4, 0x04, 0x02}, /* memory mode: more than 64 KiB, odd/even, not chained */
        {0x3CE, 0x01, 0x00}, /* no set/reset */
        {0x3CE, 0x03, 0x00}, /* no rotation, no logic */
        {0x3CE, 0x04, 0x00}, /* read map: plane 0 */
        {0x3CE, 0x05, 0x10}, /* write mode 0, odd/even reads */
        {0x3CE, 0x06, 0x0E}, /* B8000h, odd/even, text */
        {0x3CE, 0x08, 0xFF}, /* bit mask: all */
    };
    require(ioperm(0x3C0, 0x20, 1) == 0, "port access");
    outb(inb(0x3CC) | 0x02, 0x3C2); /* miscellaneous output: memory is on */
    for (size_t i = 0; i < sizeof registers / sizeof *registers; ++i) {
        outb(registers[i].index, registers[i].port);
        outb(registers[i].value, registers[i].port + 1);
    }
}

void prepare_vga_memory(void) {
    const int memory = open("/dev/mem", O_RDWR | O_SYNC);
    void* mapped = mmap(NULL, kTextBytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory, kTextMemory);
    require(memory >= 0 && mapped != MAP_FAILED, "/dev/mem");
    close(memory);
    cells = mapped;
    address_as_text();
}

/* As a text console: rows are written, then the screen scrolls by reading and writing every cell. */
uint64_t run_vga_memory(uint32_t work) {
    uint64_t checksum = 0;
    while (work--) {
        for (uint32_t i = 0; i < kCells; ++i) cells[i] = (uint16_t)(0x0700 | ((i + work) & 0x7F));
        for (uint32_t i = 0; i + 80 < kCells; ++i) cells[i] = cells[i + 80];
        checksum = stir(checksum, cells[work % kCells]);
    }
    return checksum;
}

void prepare_ports(void) {
    require(ioperm(kNmiPort, 1, 1) == 0 && ioperm(kCmosIndex, 2, 1) == 0 && ioperm(kDelayPort, 1, 1) == 0, "port access");
}

uint64_t run_ports(uint32_t work) {
    uint64_t checksum = 0;
    for (uint32_t i = 0; i < work; ++i) {
        outb((uint8_t)i, kDelayPort);
        outb(kSpareCmosByte, kCmosIndex);
        outb((uint8_t)i, kCmosData);
        outb(kSpareCmosByte, kCmosIndex);
        checksum = stir(checksum, inb(kCmosData));
        checksum = stir(checksum, inb(kNmiPort) & 0x0C); /* the two bits that a guest sets */
    }
    return checksum;
}
