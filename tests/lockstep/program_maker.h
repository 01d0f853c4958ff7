// How a random program is made: `program.cpp` draws what it starts with and puts it together, `program_tables.cpp`
// makes what a kernel would keep for the processor (descriptors, gates, page tables, the handlers' variables),
// `program_code.cpp` the pieces of code, and `program_system.cpp` the system's part of them.
#pragma once

#include <initializer_list>
#include <span>
#include <vector>

#include "tests/lockstep/instruction_maker.h"
#include "tests/lockstep/layout.h"
#include "tests/lockstep/program.h"

namespace lodge::lockstep {

// Where the pieces of one program come to lie, and the code itself.
class ProgramMaker {
  public:
    ProgramMaker(u64 seed, u64 number, const CpuModel& model);
    Program make();

  private:
    struct Fixup {
        u32 at;   // of the field
        u8 size;  // bytes
        bool relative;
        u32 piece;
    };

    // --- Setup
    void draw_mode();
    void draw_registers();
    void draw_fpu();
    void draw_schedule();
    void fill_gaps();
    void fill_data();
    void make_descriptors();
    void make_gates();
    void make_tables();
    void make_variables();
    u64 alias_entry(unsigned page);
    bool is16() const { return program_.code_size == CodeSize::bits16; }
    bool is64() const { return program_.code_size == CodeSize::bits64; }
    u64 offset_of(u64 linear) const { return is64() ? window_ + linear : (linear - data_base_) & 0xFFFFFFFF; }

    // --- Code
    void make_code();
    void begin_piece(unsigned index);
    void make_piece(unsigned index, unsigned items);
    void make_item(unsigned depth);
    void make_plain();
    void make_skip();
    void make_loop(unsigned depth);
    void make_call();
    void make_indirect();
    void make_string();
    void make_pair();
    void make_store_into_code();
    void make_service();
    void make_system();
    void make_flags();
    void make_far();
    void make_segment_load();
    void aim();
    void end_piece(bool is_main);
    u64 data_pointer();
    u16 data_selector();
    Surroundings surroundings();

    void begin() { starts_.push_back(at_); }
    void put(std::initializer_list<unsigned> bytes) {
        for (const unsigned byte : bytes) put_byte(byte);
    }
    void put_byte(unsigned byte) {
        if (at_ < kCodeSize) code()[at_++] = static_cast<u8>(byte);
    }
    void put_value(u64 value, unsigned size) {
        for (unsigned i = 0; i < size; ++i) put_byte(static_cast<u8>(value >> 8 * i));
    }
    std::span<u8> code() { return std::span<u8>(program_.memory).subspan(kCode, kCodeSize); }
    void move(unsigned reg, u64 value);
    void absolute(unsigned reg, u64 linear);
    void near_branch(std::initializer_list<unsigned> opcode, unsigned piece);
    void move_entry(unsigned reg, unsigned piece);
    bool full() const { return at_ + 200 > kCodeSize; }

    Random random_;
    const CpuModel& model_;
    Program program_;
    u64 data_base_ = 0;  // of DS
    u64 window_ = 0;     // added to linear addresses in 64-bit code
    std::vector<InstructionMaker> maker_;
    std::vector<u8> pointers_;
    u32 kept_ = 0;
    u32 at_ = 0;
    std::vector<u32> starts_;
    std::vector<u32> immediates_;  // where a byte may change without changing lengths
    std::vector<Fixup> fixups_;
    std::vector<u32> pieces_;
    unsigned current_ = 0;
};

}  // namespace lodge::lockstep
