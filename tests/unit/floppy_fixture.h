// A diskette controller with its DMA channel and two drives, diskettes in memory: for its tests and its fuzz target.
#pragma once

#include "devices/floppy_controller.h"
#include "tests/fuzz/device_harness.h"
#include "tests/unit/memory_disk.h"

namespace lodge::floppy_test {

using test::MemoryDisk;

inline std::unique_ptr<MemoryDisk> diskette(u64 kibibytes) {
    return std::make_unique<MemoryDisk>(kibibytes * 2);
}

struct FloppyBoard : test::TestBoard {
    // Sizes in KiB; 0 is an empty drive.
    explicit FloppyBoard(u64 first = 1440, u64 second = 0, FloppyDriveType first_type = FloppyDriveType::k1440,
                         FloppyDriveType second_type = FloppyDriveType::k1440)
        : slots{MediumSlot{inputs, log, "floppy0", first ? diskette(first) : nullptr},
                MediumSlot{inputs, log, "floppy1", second ? diskette(second) : nullptr}},
          floppy(TestBoard::platform(), IrqLine(lines, 6), dma.channel(2),
                 {{{&slots[0], first_type}, {&slots[1], second_type}}}) {
        memory->map(0, 1 * kMiB, 0, true);
        if (!dma.attach(ports).ok() || !floppy.attach(ports).ok()) std::abort();
        dma.reset();
        out(0xD6, 0xC0);  // channel 4 cascades
        out(0xD4, 0x00);
    }

    // A disk that the test can still look at: the slot owns a window to it.
    class Window final : public BlockDevice {
      public:
        explicit Window(MemoryDisk& disk) : disk_(disk) {}
        u64 size() const override { return disk_.size(); }
        bool read_only() const override { return disk_.read_only(); }
        std::string describe() const override { return disk_.describe(); }
        Result<void> read(u64 offset, std::span<u8> into) override { return disk_.read(offset, into); }
        Result<void> write(u64 offset, std::span<const u8> from) override { return disk_.write(offset, from); }
        Result<void> flush() override { return disk_.flush(); }
        Result<void> discard(u64 offset, u64 length) override { return disk_.discard(offset, length); }
        Result<void> zero(u64 offset, u64 length) override { return disk_.zero(offset, length); }

      private:
        MemoryDisk& disk_;
    };
    // Puts a numbered diskette into a drive at once.
    MemoryDisk& insert(unsigned number, u64 kibibytes, bool write_protected = false) {
        if (media[number]) taken_out.push_back(std::move(media[number]));
        media[number] = diskette(kibibytes);
        media[number]->number_sectors(0, kibibytes * 2);
        media[number]->write_protected = write_protected;
        slots[number].insert(std::make_unique<Window>(*media[number]));
        inputs.apply_all(clock.position());
        return *media[number];
    }

    std::vector<std::unique_ptr<MemoryDisk>> taken_out;  // perhaps still being read when another one is put in
    std::array<std::unique_ptr<MemoryDisk>, 2> media;
    DmaController dma{*memory, log};
    std::array<MediumSlot, 2> slots;
    FloppyController floppy;
};

}  // namespace lodge::floppy_test
