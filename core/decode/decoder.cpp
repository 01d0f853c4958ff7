// Decoding is three steps: prefixes and opcode bytes, one table look-up that gives the row of opcodes.inc, operands by
// that row.
//
// The look-up. Which row an opcode byte means can depend on the mandatory prefix, on ModRM, on 64-bit code, on W, L and
// REX.B, but mostly depends on little of that. So each of the 7 * 256 opcode bytes has a Cell that says at which stride
// each of these counts (0: not at all) into one array of row numbers; the look-up is then a sum, without a branch and
// without a search. The array is built at compile time, and building fails if two rows answer to the same bytes.
#include "core/decode/decoder.h"

#include <algorithm>

#include "core/decode/encoding.h"

namespace lodge {
namespace {

// How far ModRM tells the rows of one opcode byte apart.
enum class ModrmView : u8 { none, mod, reg, mod_and_reg, whole };
constexpr unsigned kModrmClasses[] = {1, 2, 8, 16, 72};

constexpr u8 modrm_class(ModrmView view, unsigned modrm) {
    const bool is_register = modrm >= 0xc0;
    switch (view) {
        case ModrmView::none:
            return 0;
        case ModrmView::mod:
            return is_register;
        case ModrmView::reg:
            return modrm >> 3 & 7;
        case ModrmView::mod_and_reg:
            return static_cast<u8>(is_register * 8 + (modrm >> 3 & 7));
        case ModrmView::whole:
            return static_cast<u8>(is_register ? 8 + (modrm & 0x3f) : modrm >> 3 & 7);
    }
    return 0;
}

struct Cell {
    u32 base = 0;
    u16 prefix_stride = 0, mode_stride = 0, wide_stride = 0, length_stride = 0, rex_b_stride = 0;
    ModrmView view = ModrmView::none;
    bool has_modrm = false;
};

constexpr size_t kCellCount = kOpcodeMapCount * 256;
constexpr size_t cell_index(OpcodeMap map, unsigned byte) {
    return static_cast<size_t>(map) * 256 + byte;
}

struct CellRows {
    u16 rows[80] = {};
    size_t count = 0;
};

constexpr ModrmView view_needed(const Encoding& row) {
    if (!row.has_modrm) return ModrmView::none;
    if (row.rms != 0xff) return ModrmView::whole;
    const bool by_mod = row.register_form != row.memory_form;
    const bool by_reg = row.regs != 0xff;
    if (by_mod && by_reg) return ModrmView::mod_and_reg;
    return by_mod ? ModrmView::mod : by_reg ? ModrmView::reg : ModrmView::none;
}

constexpr ModrmView wider(ModrmView one, ModrmView other) {
    if ((one == ModrmView::mod && other == ModrmView::reg) || (one == ModrmView::reg && other == ModrmView::mod))
        return ModrmView::mod_and_reg;
    return std::max(one, other);
}

// A ModRM byte that stands for its class.
constexpr u8 modrm_of_class(ModrmView view, unsigned number) {
    switch (view) {
        case ModrmView::none:
            return 0;
        case ModrmView::mod:
            return number ? 0xc0 : 0;
        case ModrmView::reg:
            return static_cast<u8>(number << 3);
        case ModrmView::mod_and_reg:
            return static_cast<u8>(number >= 8 ? 0xc0 | (number & 7) << 3 : number << 3);
        case ModrmView::whole:
            return static_cast<u8>(number >= 8 ? 0xc0 | (number - 8) : number << 3);
    }
    return 0;
}

struct LayOut {
    std::array<Cell, kCellCount> cells;
    size_t size = 1;  // entry 0 is the invalid one, which cells without rows point to
};

consteval std::array<CellRows, kCellCount> rows_by_cell() {
    std::array<CellRows, kCellCount> result{};
    for (size_t number = 1; number < kEncodings.size(); ++number) {
        const Encoding& row = kEncodings[number];
        for (unsigned byte = row.first; byte <= row.last; ++byte) {
            CellRows& cell = result[cell_index(row.map, byte)];
            cell.rows[cell.count++] = static_cast<u16>(number);
        }
    }
    return result;
}
constexpr auto kRowsByCell = rows_by_cell();

consteval LayOut lay_out() {
    LayOut result;
    for (size_t index = 0; index < kCellCount; ++index) {
        const CellRows& rows = kRowsByCell[index];
        if (rows.count == 0) continue;
        Cell& cell = result.cells[index];
        bool by_prefix = false, by_mode = false, by_wide = false, by_length = false, by_rex_b = false;
        cell.has_modrm = kEncodings[rows.rows[0]].has_modrm;
        for (size_t i = 0; i < rows.count; ++i) {
            const Encoding& row = kEncodings[rows.rows[i]];
            if (row.has_modrm != cell.has_modrm && row.modes == 0b11)
                throw "some rows of an opcode have ModRM, some not";
            by_prefix |= row.prefixes != 0b1111;
            by_mode |= row.modes != 0b11 || row.wide_only_in_64;
            by_wide |= row.wide != 0b11;
            by_length |= row.lengths != 0b11;
            by_rex_b |= row.rex_b != 0b11;
            cell.view = wider(cell.view, view_needed(row));
        }
        cell.base = static_cast<u32>(result.size);
        unsigned size = kModrmClasses[static_cast<unsigned>(cell.view)];
        const auto take = [&](bool used, u16& stride, unsigned values) {
            if (!used) return;
            stride = static_cast<u16>(size);
            size *= values;
        };
        take(by_prefix, cell.prefix_stride, 4);
        take(by_mode, cell.mode_stride, 2);
        take(by_wide, cell.wide_stride, 2);
        take(by_length, cell.length_stride, 2);
        take(by_rex_b, cell.rex_b_stride, 2);
        result.size += size;
    }
    return result;
}
constexpr LayOut kLayOut = lay_out();

consteval void fill_cell(std::array<u16, kLayOut.size>& numbers, size_t index) {
    const Cell& cell = kLayOut.cells[index];
    const unsigned classes = kModrmClasses[static_cast<unsigned>(cell.view)];
    for (size_t i = 0; i < kRowsByCell[index].count; ++i) {
        const u16 number = kRowsByCell[index].rows[i];
        const Encoding& row = kEncodings[number];
        for (unsigned bits = 0; bits < 64; ++bits) {
            const unsigned prefix = bits & 3;
            const bool mode = bits & 4, wide = bits & 8, length = bits & 16, rex_b = bits & 32;
            if ((prefix && !cell.prefix_stride) || (mode && !cell.mode_stride) || (wide && !cell.wide_stride) ||
                (length && !cell.length_stride) || (rex_b && !cell.rex_b_stride) ||
                !row.answers_to(prefix, mode, wide, length, rex_b))
                continue;
            const size_t start = cell.base + prefix * cell.prefix_stride + mode * cell.mode_stride +
                                 wide * cell.wide_stride + length * cell.length_stride + rex_b * cell.rex_b_stride;
            for (unsigned number_of_class = 0; number_of_class < classes; ++number_of_class) {
                if (!row.answers_to_modrm(modrm_of_class(cell.view, number_of_class))) continue;
                u16& entry = numbers[start + number_of_class];
                if (entry) throw "two rows answer to the same bytes";
                entry = number;
            }
        }
    }
}

consteval std::array<u16, kLayOut.size> row_numbers() {
    std::array<u16, kLayOut.size> numbers{};
    for (size_t index = 0; index < kCellCount; ++index) fill_cell(numbers, index);
    return numbers;
}
constexpr auto kRowNumbers = row_numbers();

consteval std::array<std::array<u8, 256>, 5> modrm_classes() {
    std::array<std::array<u8, 256>, 5> result{};
    for (unsigned view = 0; view < 5; ++view)
        for (unsigned modrm = 0; modrm < 256; ++modrm)
            result[view][modrm] = modrm_class(static_cast<ModrmView>(view), modrm);
    return result;
}
constexpr auto kModrmClass = modrm_classes();

// What a byte is in front of an opcode.
enum class PrefixKind : u8 { none, segment, operand_size, address_size, lock, repne, rep, rex };

consteval std::array<PrefixKind, 256> prefix_kinds(bool code64) {
    std::array<PrefixKind, 256> kinds{};
    for (unsigned byte : {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65}) kinds[byte] = PrefixKind::segment;
    kinds[0x66] = PrefixKind::operand_size;
    kinds[0x67] = PrefixKind::address_size;
    kinds[0xf0] = PrefixKind::lock;
    kinds[0xf2] = PrefixKind::repne;
    kinds[0xf3] = PrefixKind::rep;
    for (unsigned byte = 0x40; code64 && byte < 0x50; ++byte) kinds[byte] = PrefixKind::rex;
    return kinds;
}
constexpr std::array<PrefixKind, 256> kPrefixKinds[2] = {prefix_kinds(false), prefix_kinds(true)};

// Vector registers of gathers: destination, index and mask must differ (SDM vol. 2, "VPGATHERDD": else #UD).
bool gather_registers_differ(const Insn& insn) {
    const u8 destination = insn.operands[0].reg, mask = insn.operands[2].reg;
    return destination != mask && destination != insn.index && mask != insn.index;
}

class Decoder {
  public:
    Decoder(std::span<const u8> bytes, CodeSize code_size, Insn& insn)
        : bytes_(bytes.data()),
          limit_(std::min(bytes.size(), kLongestInsn)),
          code64_(code_size == CodeSize::bits64),
          insn_(insn) {
        insn_ = Insn{};
        insn_.code_size = code_size;
    }

    DecodeStatus run();

  private:
    // Each returns false after setting status_ where the instruction ends in a failure.
    bool read_prefixes(u8& byte);
    bool read_opcode(u8 byte);
    bool read_vex(u8 first);
    bool find_row();
    void set_sizes();
    bool read_memory();
    bool read_memory16();
    bool read_memory32();
    bool read_sib();
    bool read_operands();
    bool read_operand(const OperandSpec& spec, Operand& operand);
    bool read_immediate(const OperandSpec& spec, Operand& operand);
    bool set_system_register(const OperandSpec& spec, Operand& operand);
    bool lock_is_valid() const;

    u8 size_of(char letter) const;
    bool is_register_form() const { return insn_.modrm >= 0xc0 || row_->mod_ignored; }
    u8 modrm_reg() const { return static_cast<u8>((insn_.modrm >> 3 & 7) | rex_r_ << 3); }
    u8 modrm_rm() const { return static_cast<u8>((insn_.modrm & 7) | rex_b_ << 3); }
    void set_gpr(Operand& operand, u8 reg, u8 size) const;
    void set_memory(Operand& operand, const OperandSpec& spec) const {
        operand = {OperandKind::memory, 0, size_of(spec.memory_size)};
    }
    void set_rm(Operand& operand, OperandKind kind, u8 reg, const OperandSpec& spec) const;
    void default_segment(Segment segment) {
        if (!(insn_.prefixes & kPrefixSegment)) insn_.segment = segment;
    }

    bool fail(DecodeStatus status) {
        status_ = status;
        return false;
    }
    bool out_of_bytes() { return fail(position_ >= kLongestInsn ? DecodeStatus::too_long : DecodeStatus::truncated); }
    template <class T>
    bool read(T& value) {
        if (limit_ - position_ < sizeof(T)) {
            position_ = std::max(position_, limit_);
            return out_of_bytes();
        }
        value = load<T>(bytes_ + position_);
        position_ += sizeof(T);
        return true;
    }
    template <class T>
    bool read_signed(i64& value) {
        T raw;
        if (!read(raw)) return false;
        value = raw;
        return true;
    }
    // `size` bytes, zero-extended.
    bool read_sized(u8 size, u64& value);

    const u8* bytes_;
    size_t limit_;
    size_t position_ = 0;
    const bool code64_;
    Insn& insn_;
    DecodeStatus status_ = DecodeStatus::ok;
    const Encoding* row_ = nullptr;
    OpcodeMap map_ = OpcodeMap::one;
    u8 opcode_ = 0;
    bool vex_ = false;
    u8 vex_vvvv_ = 0;  // all four bits of it, also outside 64-bit code: unused, they must say 0
    bool rex_w_ = false, rex_r_ = false, rex_x_ = false, rex_b_ = false;  // of REX or VEX
    unsigned prefix_ = kNoPrefix;                                         // class, see encoding.h
};

bool Decoder::read_prefixes(u8& byte) {
    u8 rex = 0;
    u8 prefixes = 0;
    const auto& kinds = kPrefixKinds[code64_];
    for (;;) {
        if (!read(byte)) return false;
        const PrefixKind kind = kinds[byte];
        if (kind == PrefixKind::none) break;
        if (kind == PrefixKind::rex) {
            rex = byte;
            continue;
        }
        rex = 0;  // REX counts only directly before the opcode (SDM vol. 2, 2.2.1)
        switch (kind) {
            case PrefixKind::segment:
                // ES, CS, SS and DS overrides are no prefixes of effect in 64-bit code (SDM vol. 2, 2.1.1; vol.
                // 1, 3.4.2.1)
                if (code64_ && byte < 0x64) break;
                insn_.segment = static_cast<Segment>(byte < 0x64 ? byte >> 3 & 3 : byte - 0x60);
                prefixes |= kPrefixSegment;
                break;
            case PrefixKind::operand_size:
                prefixes |= kPrefixOperandSize;
                break;
            case PrefixKind::address_size:
                prefixes |= kPrefixAddressSize;
                break;
            case PrefixKind::lock:
                prefixes |= kPrefixLock;
                break;
            case PrefixKind::repne:
                prefixes = static_cast<u8>((prefixes & ~kPrefixRep) | kPrefixRepne);
                break;
            default:
                prefixes = static_cast<u8>((prefixes & ~kPrefixRepne) | kPrefixRep);
                break;
        }
    }
    if (rex) {
        prefixes |= kPrefixRex;
        rex_w_ = rex & 8, rex_r_ = rex & 4, rex_x_ = rex & 2, rex_b_ = rex & 1;
    }
    insn_.prefixes = prefixes;
    prefix_ = prefixes & kPrefixRep           ? kPrefixF3
              : prefixes & kPrefixRepne       ? kPrefixF2
              : prefixes & kPrefixOperandSize ? kPrefix66
                                              : kNoPrefix;
    return true;
}

// SDM vol. 2, 2.3.5 "The VEX Prefix" and 2.3.6.
bool Decoder::read_vex(u8 first) {
    if (insn_.prefixes & (kPrefixLock | kPrefixRep | kPrefixRepne | kPrefixOperandSize | kPrefixRex))
        return fail(DecodeStatus::invalid);
    u8 payload;
    if (!read(payload)) return false;
    unsigned map = 1;
    rex_r_ = !(payload & 0x80);
    if (first == 0xc4) {
        map = payload & 0x1f;
        rex_x_ = !(payload & 0x40);
        rex_b_ = !(payload & 0x20);
        if (!read(payload)) return false;
        rex_w_ = payload & 0x80;
    }
    if (map < 1 || map > 3) return fail(DecodeStatus::invalid);
    vex_ = true;
    map_ = static_cast<OpcodeMap>(static_cast<unsigned>(OpcodeMap::vex0F) + map - 1);
    vex_vvvv_ = insn_.vvvv = ~payload >> 3 & 0xf;
    insn_.vector_size = payload & 4 ? 32 : 16;
    prefix_ = payload & 3;
    if (!code64_) {  // only eight registers; R and X are 0 or it would be LES, LDS
        rex_b_ = false;
        insn_.vvvv &= 7;
    }
    return read(opcode_);
}

bool Decoder::read_opcode(u8 byte) {
    opcode_ = byte;
    if (byte == 0x0f) {
        if (!read(opcode_)) return false;
        map_ = OpcodeMap::x0F;
        if (opcode_ == 0x38 || opcode_ == 0x3a) {
            map_ = opcode_ == 0x38 ? OpcodeMap::x0F38 : OpcodeMap::x0F3A;
            return read(opcode_);
        }
        return true;
    }
    if (byte != 0xc4 && byte != 0xc5) return true;
    if (code64_) return read_vex(byte);
    if (position_ == limit_) return out_of_bytes();
    return bytes_[position_] < 0xc0 || read_vex(byte);  // a memory form is LES, LDS
}

bool Decoder::find_row() {
    const Cell& cell = kLayOut.cells[cell_index(map_, opcode_)];
    if (cell.has_modrm && !read(insn_.modrm)) return false;
    const bool length = insn_.vector_size == 32;
    const size_t entry = cell.base + prefix_ * cell.prefix_stride + code64_ * cell.mode_stride +
                         rex_w_ * cell.wide_stride + length * cell.length_stride + rex_b_ * cell.rex_b_stride +
                         kModrmClass[static_cast<unsigned>(cell.view)][insn_.modrm];
    row_ = &kEncodings[kRowNumbers[entry]];
    if (row_ == &kEncodings[0]) return fail(DecodeStatus::invalid);
    if (!row_->has_vvvv && vex_vvvv_) return fail(DecodeStatus::invalid);
    insn_.opcode = row_->opcode;
    return true;
}

void Decoder::set_sizes() {
    const bool other_size = insn_.prefixes & kPrefixOperandSize && !(row_->owns_prefix() && prefix_ == kPrefix66);
    const bool other_address = insn_.prefixes & kPrefixAddressSize;
    switch (insn_.code_size) {
        case CodeSize::bits16:
            insn_.operand_size = other_size ? 4 : 2;
            insn_.address_size = other_address ? 4 : 2;
            break;
        case CodeSize::bits32:
            insn_.operand_size = other_size ? 2 : 4;
            insn_.address_size = other_address ? 2 : 4;
            break;
        case CodeSize::bits64:
            insn_.operand_size = row_->force_64 || rex_w_ ? 8 : other_size ? 2 : row_->default_64 ? 8 : 4;
            insn_.address_size = other_address ? 4 : 8;
            if (rex_w_) insn_.prefixes |= kPrefixRexW;
            break;
    }
    if (vex_) insn_.operand_size = code64_ && rex_w_ ? 8 : 4;
    if (row_->owns_prefix()) insn_.prefixes &= static_cast<u8>(~(kPrefixRep | kPrefixRepne));
}

// SDM vol. 2, table 2-1.
bool Decoder::read_memory16() {
    struct Form {
        u8 base, index;
    };
    static constexpr Form kForms[8] = {{3, 6},           {3, 7},           {5, 6},           {5, 7},
                                       {6, kNoRegister}, {7, kNoRegister}, {5, kNoRegister}, {3, kNoRegister}};
    const unsigned mod = insn_.modrm >> 6, rm = insn_.modrm & 7;
    if (mod == 0 && rm == 6) return read_signed<i16>(insn_.displacement);
    insn_.base = kForms[rm].base;
    insn_.index = kForms[rm].index;
    if (insn_.base == 5) default_segment(Segment::ss);
    if (mod == 0) return true;
    return mod == 1 ? read_signed<i8>(insn_.displacement) : read_signed<i16>(insn_.displacement);
}

// SDM vol. 2, table 2-3.
bool Decoder::read_sib() {
    u8 sib;
    if (!read(sib)) return false;
    const u8 index = static_cast<u8>((sib >> 3 & 7) | rex_x_ << 3);
    if (index != 4 || row_->has_vsib) {
        insn_.index = index;
        insn_.scale = sib >> 6;
    }
    if ((sib & 7) == 5 && insn_.modrm < 0x40) return read_signed<i32>(insn_.displacement);
    insn_.base = static_cast<u8>((sib & 7) | rex_b_ << 3);
    return true;
}

// SDM vol. 2, table 2-2, and 2.2.1.6 "RIP-Relative Addressing".
bool Decoder::read_memory32() {
    const unsigned mod = insn_.modrm >> 6, rm = insn_.modrm & 7;
    if (rm == 4) {
        if (!read_sib()) return false;
    } else if (mod == 0 && rm == 5) {
        if (code64_) insn_.base = kBlockIp;
        return read_signed<i32>(insn_.displacement);
    } else {
        insn_.base = modrm_rm();
    }
    if (insn_.base == 4 || insn_.base == 5) default_segment(Segment::ss);
    if (mod == 0) return true;
    return mod == 1 ? read_signed<i8>(insn_.displacement) : read_signed<i32>(insn_.displacement);
}

bool Decoder::read_memory() {
    if (row_->has_vsib && (insn_.address_size == 2 || (insn_.modrm & 7) != 4)) return fail(DecodeStatus::invalid);
    return insn_.address_size == 2 ? read_memory16() : read_memory32();
}

u8 Decoder::size_of(char letter) const {
    const u8 operand_size = insn_.operand_size;
    const u8 vector_size = insn_.vector_size;
    switch (letter) {
        case 'b':
            return 1;
        case 'w':
            return 2;
        case 'd':
            return 4;
        case 'q':
            return 8;
        case 'o':
            return 16;
        case 't':
            return 10;
        case 'v':
            return operand_size;
        case 'z':
            return std::min<u8>(operand_size, 4);
        case 'y':
            return code64_ && rex_w_ ? 8 : 4;
        case 'c':
            return code64_ ? 8 : 4;
        case 'x':
            return vector_size;
        case 'h':
            return vector_size / 2;
        case 'f':
            return vector_size / 4;
        case 'e':
            return vector_size / 8;
        case 'p':
            return static_cast<u8>(2 + operand_size);
        case 'a':
            return static_cast<u8>(2 * operand_size);
        case 's':
            return code64_ ? 10 : 6;
        case 'E':
            return operand_size == 2 ? 14 : 28;
        case 'S':
            return operand_size == 2 ? 94 : 108;
        default:
            return 0;
    }
}

// Numbers 4..7 of byte registers are AH..BH without REX (SDM vol. 2, 2.2.1.2).
void Decoder::set_gpr(Operand& operand, u8 reg, u8 size) const {
    const bool high_byte = size == 1 && reg >= 4 && reg < 8 && !(insn_.prefixes & kPrefixRex);
    operand = {OperandKind::gpr, static_cast<u8>(high_byte ? reg + 12 : reg), size};
}

void Decoder::set_rm(Operand& operand, OperandKind kind, u8 reg, const OperandSpec& spec) const {
    if (is_register_form())
        operand = {kind, reg, size_of(spec.size)};
    else
        set_memory(operand, spec);
}

bool Decoder::read_sized(u8 size, u64& value) {
    switch (size) {
        case 1: {
            u8 raw;
            if (!read(raw)) return false;
            value = raw;
            return true;
        }
        case 2: {
            u16 raw;
            if (!read(raw)) return false;
            value = raw;
            return true;
        }
        case 4: {
            u32 raw;
            if (!read(raw)) return false;
            value = raw;
            return true;
        }
        default:
            return read(value);
    }
}

// The first immediate goes to Insn::immediate, a second one to immediate2.
bool Decoder::read_immediate(const OperandSpec& spec, Operand& operand) {
    const u8 size = size_of(spec.size);
    operand = {OperandKind::immediate, 0, size};
    u64 value = 0;
    if (!read_sized(size, value)) return false;
    const bool sign_extended =
        spec.place == OperandPlace::signed_immediate || (spec.size == 'z' && insn_.operand_size == 8);
    if (sign_extended)
        value = size == 1 ? static_cast<u64>(static_cast<i8>(value)) : static_cast<u64>(static_cast<i32>(value));
    const bool is_second = &operand != insn_.operands && (&operand - 1)->kind == OperandKind::immediate;
    if (is_second)
        insn_.immediate2 = static_cast<u16>(value);
    else
        insn_.immediate = value;
    return true;
}

// SDM vol. 2, "MOV-Move", "MOV-Move to/from Control Registers", "...Debug Registers": what does not exist is #UD.
bool Decoder::set_system_register(const OperandSpec& spec, Operand& operand) {
    const u8 size = size_of(spec.size);
    const u8 reg = modrm_reg();
    switch (spec.place) {
        case OperandPlace::reg_segment: {
            const u8 segment = reg & 7;  // REX.R has no meaning here
            const bool is_load = &operand == insn_.operands;
            operand = {OperandKind::segment, segment, size};
            return (segment <= 5 && !(is_load && segment == static_cast<u8>(Segment::cs))) ||
                   fail(DecodeStatus::invalid);
        }
        case OperandPlace::reg_control:
            operand = {OperandKind::control, reg, size};
            return reg == 0 || (reg >= 2 && reg <= 4) || reg == 8 || fail(DecodeStatus::invalid);
        case OperandPlace::reg_debug:
            operand = {OperandKind::debug, reg, size};
            return reg < 8 || fail(DecodeStatus::invalid);
        default:
            operand = {OperandKind::test, reg, size};
            return reg >= 3 || fail(DecodeStatus::invalid);
    }
}

bool Decoder::read_operand(const OperandSpec& spec, Operand& operand) {
    switch (spec.place) {
        case OperandPlace::none:
            return true;
        case OperandPlace::reg_gpr:
            set_gpr(operand, modrm_reg(), size_of(spec.size));
            return true;
        case OperandPlace::rm_gpr:
        case OperandPlace::rm_gpr_only:
            if (is_register_form())
                set_gpr(operand, modrm_rm(), size_of(spec.size));
            else
                set_memory(operand, spec);
            return true;
        case OperandPlace::vvvv_gpr:
            set_gpr(operand, insn_.vvvv, size_of(spec.size));
            return true;
        case OperandPlace::opcode_gpr:
            set_gpr(operand, static_cast<u8>((opcode_ & 7) | rex_b_ << 3), size_of(spec.size));
            return true;
        case OperandPlace::rm_vsib:
            set_memory(operand, spec);
            return true;
        case OperandPlace::moffs: {
            u64 address = 0;
            if (!read_sized(insn_.address_size, address)) return false;
            insn_.displacement = static_cast<i64>(address);
            set_memory(operand, spec);
            return true;
        }
        case OperandPlace::string:
            operand = {OperandKind::none, 0, size_of(spec.size)};
            return true;
        case OperandPlace::reg_mmx:
            operand = {OperandKind::mmx, static_cast<u8>(insn_.modrm >> 3 & 7), size_of(spec.size)};
            return true;
        case OperandPlace::rm_mmx:
            set_rm(operand, OperandKind::mmx, insn_.modrm & 7, spec);
            return true;
        case OperandPlace::reg_xmm:
            operand = {OperandKind::xmm, modrm_reg(), size_of(spec.size)};
            return true;
        case OperandPlace::rm_xmm:
            set_rm(operand, OperandKind::xmm, modrm_rm(), spec);
            return true;
        case OperandPlace::vvvv_xmm:
            operand = {OperandKind::xmm, insn_.vvvv, size_of(spec.size)};
            return true;
        case OperandPlace::immediate_xmm: {
            u8 raw;
            if (!read(raw)) return false;
            operand = {OperandKind::xmm, static_cast<u8>(raw >> 4 & (code64_ ? 15 : 7)), size_of(spec.size)};
            return true;
        }
        case OperandPlace::reg_segment:
        case OperandPlace::reg_control:
        case OperandPlace::reg_debug:
        case OperandPlace::reg_test:
            return set_system_register(spec, operand);
        case OperandPlace::opcode_segment:
            operand = {OperandKind::segment, static_cast<u8>(opcode_ >> 3 & 7), 2};
            return true;
        case OperandPlace::unsigned_immediate:
        case OperandPlace::signed_immediate:
            return read_immediate(spec, operand);
        case OperandPlace::relative: {
            operand = {OperandKind::relative, 0, size_of(spec.size)};
            i64 distance = 0;
            const bool read_it = operand.size == 1   ? read_signed<i8>(distance)
                                 : operand.size == 2 ? read_signed<i16>(distance)
                                                     : read_signed<i32>(distance);
            insn_.immediate = static_cast<u64>(distance);
            return read_it;
        }
        case OperandPlace::far:
            operand = {OperandKind::far, 0, size_of(spec.size)};
            return read_sized(insn_.operand_size, insn_.immediate) && read(insn_.immediate2);
        case OperandPlace::accumulator:
            operand = {OperandKind::gpr, 0, size_of(spec.size)};
            return true;
        case OperandPlace::cl:
            operand = {OperandKind::gpr, 1, 1};
            return true;
        case OperandPlace::dx:
            operand = {OperandKind::gpr, 2, 2};
            return true;
        case OperandPlace::st0:
            operand = {OperandKind::st, 0, 10};
            return true;
        case OperandPlace::st_rm:
            operand = {OperandKind::st, static_cast<u8>(insn_.modrm & 7), 10};
            return true;
        case OperandPlace::one:
            operand = {OperandKind::immediate, 0, 1};
            insn_.immediate = 1;
            return true;
    }
    return true;
}

bool Decoder::read_operands() {
    for (size_t i = 0; i < 4 && row_->operands[i].place != OperandPlace::none; ++i)
        if (!read_operand(row_->operands[i], insn_.operands[i])) return false;
    if (row_->has_vsib && !gather_registers_differ(insn_)) return fail(DecodeStatus::invalid);
    return true;
}

bool Decoder::lock_is_valid() const {
    return facts(insn_.opcode).lockable && insn_.operands[0].kind == OperandKind::memory;
}

DecodeStatus Decoder::run() {
    u8 byte;
    if (!read_prefixes(byte) || !read_opcode(byte) || !find_row()) return status_;
    set_sizes();
    if (row_->has_modrm && !is_register_form() && !read_memory()) return status_;
    if (!read_operands()) return status_;
    if (insn_.prefixes & kPrefixLock && !lock_is_valid()) return DecodeStatus::invalid;
    insn_.length = static_cast<u8>(position_);
    return DecodeStatus::ok;
}

bool has_register(const Insn& insn, OperandKind kind, u8 least_size) {
    return std::any_of(std::begin(insn.operands), std::end(insn.operands),
                       [&](const Operand& operand) { return operand.kind == kind && operand.size >= least_size; });
}

}  // namespace

DecodeStatus decode(std::span<const u8> bytes, CodeSize code_size, Insn& insn) {
    return Decoder(bytes, code_size, insn).run();
}

Access operand_access(const Insn& insn, unsigned index) {
    const Access access = facts(insn.opcode).access[index];
    const bool has_second = insn.operands[1].kind != OperandKind::none;
    const bool has_third = insn.operands[2].kind != OperandKind::none;
    const OperandKind second = insn.operands[1].kind;
    switch (insn.opcode) {
        case Opcode::IMUL:  // one operand: a source; two: both; three: the first is only written
            if (index == 0) return has_third ? Access::write : has_second ? Access::read_write : Access::read;
            return access;
        case Opcode::FADD:
        case Opcode::FMUL:
        case Opcode::FSUB:
        case Opcode::FSUBR:
        case Opcode::FDIV:
        case Opcode::FDIVR:  // of memory: ST(0) is left out
            return has_second ? access : Access::read;
        case Opcode::MOVSS:
        case Opcode::MOVSD:  // the register form keeps the upper part, a load clears it, a store only writes
            return index == 0 && second == OperandKind::xmm && insn.operands[0].kind == OperandKind::xmm
                       ? Access::read_write
                   : index == 0 ? Access::write
                                : Access::read;
        case Opcode::MOVLPS:
        case Opcode::MOVLPD:
        case Opcode::MOVHPS:
        case Opcode::MOVHPD:  // a store only writes
            return index == 0 && insn.operands[0].kind == OperandKind::memory ? Access::write : access;
        default:
            return access;
    }
}

CpuFeature required_feature(const Insn& insn) {
    const OpcodeFacts& known = facts(insn.opcode);
    if (known.wider_is_later) {
        if (known.feature == CpuFeature::avx) return insn.vector_size == 32 ? CpuFeature::avx2 : CpuFeature::avx;
        return has_register(insn, OperandKind::xmm, 1) ? CpuFeature::sse2 : known.feature;
    }
    const bool is_broadcast = insn.opcode == Opcode::VBROADCASTSS || insn.opcode == Opcode::VBROADCASTSD;
    if (is_broadcast && !insn.has_memory()) return CpuFeature::avx2;
    return known.feature;
}

bool ends_block(const Insn& insn) {
    if (insn.opcode == Opcode::MOV_SEG || insn.opcode == Opcode::POP_SEG)
        return insn.operands[0].kind == OperandKind::segment && insn.operands[0].reg == static_cast<u8>(Segment::ss);
    return facts(insn.opcode).ends_block;
}

}  // namespace lodge
