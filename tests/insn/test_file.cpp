#include "tests/insn/test_file.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <sstream>

#include "core/decode/opcode.h"
#include "core/memory/physical_memory.h"
#include "tests/insn/test_memory.h"

namespace lodge {
namespace {

constexpr const char* kNames32[] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
constexpr const char* kNames64[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                    "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
constexpr const char* kVectors[] = {"#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "?",
                                    "#TS", "#NP", "#SS", "#GP", "#PF", "?",   "#MF", "#AC", "#MC", "#XM"};

template <size_t N>
std::optional<unsigned> index_of(const char* const (&names)[N], std::string_view name) {
    const auto found = std::find(std::begin(names), std::end(names), name);
    if (found == std::end(names)) return std::nullopt;
    return static_cast<unsigned>(found - std::begin(names));
}

struct Place {
    u8* bytes;
    unsigned size;
};

// "xmm3": the number after `prefix`.
std::optional<unsigned> numbered(std::string_view name, std::string_view prefix) {
    if (name.size() != prefix.size() + 1 || !name.starts_with(prefix)) return std::nullopt;
    const char digit = name.back();
    if (digit < '0' || digit > '7') return std::nullopt;
    return static_cast<unsigned>(digit - '0');
}

std::optional<Place> find_register(InsnState& state, std::string_view name) {
    const auto at = [](auto& field) { return Place{reinterpret_cast<u8*>(&field), sizeof field}; };
    if (const auto i = index_of(kNames32, name)) return Place{reinterpret_cast<u8*>(&state.gpr[*i]), 4};
    if (const auto i = index_of(kNames64, name)) return at(state.gpr[*i]);
    if (const auto i = numbered(name, "xmm")) return Place{state.xmm[*i].data(), 16};
    if (const auto i = numbered(name, "st")) return Place{state.st[*i].data(), 10};
    if (const auto i = numbered(name, "mm")) return Place{state.st[(*i - (state.fsw >> 11)) & 7].data(), 8};
    if (name == "eip") return Place{reinterpret_cast<u8*>(&state.ip), 4};
    if (name == "eflags") return at(state.eflags);
    if (name == "fcw") return at(state.fcw);
    if (name == "fsw") return at(state.fsw);
    if (name == "ftw") return at(state.valid);
    if (name == "mxcsr") return at(state.mxcsr);
    return std::nullopt;
}

// Reads what the file says; errors name file and line.
class Parser {
  public:
    Parser(const std::string& path, TestFile& file) : path_(path), file_(file) {}
    Result<void> run();

  private:
    Result<void> read_line(const std::string& line);
    Result<void> read_items(std::istream& words, std::vector<TestItem>& items);
    Result<void> read_fault(const std::string& word);
    bool read_item(const std::string& word, TestItem& item);
    bool read_place(std::string_view name, TestItem& item);
    bool read_value(std::string_view text, u128& value) const;
    bool read_term(std::string_view text, u128& value) const;
    Error error(const std::string& what) const {
        return {ErrorKind::bad_format, path_ + ":" + std::to_string(line_) + ": " + what};
    }

    const std::string& path_;
    TestFile& file_;
    unsigned line_ = 0;
    bool in_test_ = false;
};

bool Parser::read_term(std::string_view text, u128& value) const {
    if (text == "DATA") return value = kDataRegion.address, true;
    if (text == "READONLY") return value = kReadOnlyRegion.address, true;
    if (text == "STACK") return value = kStackTop, true;
    if (text == "CODE") return value = kCodeRegion.address, true;
    if (text == "START") return value = file_.tests.back().start, true;
    const unsigned base = text.starts_with("0x") ? 16 : 10;
    if (base == 16) text.remove_prefix(2);
    if (text.empty()) return false;
    value = 0;
    for (const char c : text) {
        if (c == '_') continue;
        const unsigned digit = c >= '0' && c <= '9'   ? static_cast<unsigned>(c - '0')
                               : c >= 'a' && c <= 'f' ? static_cast<unsigned>(c - 'a' + 10)
                               : c >= 'A' && c <= 'F' ? static_cast<unsigned>(c - 'A' + 10)
                                                      : 99;
        if (digit >= base) return false;
        value = value * base + digit;
    }
    return true;
}

bool Parser::read_value(std::string_view text, u128& value) const {
    value = 0;
    bool minus = text.starts_with('-');
    if (minus) text.remove_prefix(1);
    for (;;) {
        const size_t end = std::min(text.find_first_of("+-"), text.size());
        u128 term;
        if (!read_term(text.substr(0, end), term)) return false;
        value += minus ? 0 - term : term;
        if (end == text.size()) return true;
        minus = text[end] == '-';
        text.remove_prefix(end + 1);
    }
}

bool Parser::read_place(std::string_view name, TestItem& item) {
    const size_t bracket = name.find('[');
    if (bracket == std::string_view::npos) {
        InsnState any;
        item.name = name;
        const auto place = find_register(any, name);
        if (place) item.size = place->size;
        return place.has_value();
    }
    static constexpr const char* kSizes[] = {"byte", "word", "", "qword", "oword"};
    const auto size = index_of(kSizes, std::string(name.substr(0, bracket)));
    u128 address;
    if (!size || name.back() != ']' || !read_value(name.substr(bracket + 1, name.size() - bracket - 2), address))
        return false;
    item.size = 1u << *size;
    item.address = static_cast<u64>(address);
    return std::any_of(std::begin(kTestRegions), std::end(kTestRegions), [&](const TestRegion& region) {
        return item.address >= region.address && item.address + item.size <= region.address + region.size;
    });
}

bool Parser::read_item(const std::string& word, TestItem& item) {
    item.text = word;
    const size_t equals = word.find('=');
    if (equals == std::string::npos || !read_value(std::string_view(word).substr(equals + 1), item.value)) return false;
    std::string_view name = std::string_view(word).substr(0, equals);
    const size_t mask = name.find('&');
    if (mask != std::string_view::npos) {
        if (!read_value(name.substr(mask + 1), item.mask)) return false;
        name = name.substr(0, mask);
    } else if (name == "eflags") {
        item.mask = kArithmeticFlags | kFlagDirection;
    }
    return read_place(name, item);
}

Result<void> Parser::read_items(std::istream& words, std::vector<TestItem>& items) {
    std::string word;
    while (words >> word) {
        if (word.starts_with(';')) break;
        TestItem item;
        if (!read_item(word, item)) return error("cannot read '" + word + "'");
        items.push_back(item);
    }
    return {};
}

Result<void> Parser::read_fault(const std::string& word) {
    const size_t equals = std::min(word.find('='), word.size());
    const auto vector = index_of(kVectors, word.substr(0, equals));
    if (!vector) return error("no exception '" + word + "'");
    InsnTest& test = file_.tests.back();
    test.fault_vector = static_cast<u8>(*vector);
    if (equals == word.size()) return {};
    u128 value;
    if (!read_value(std::string_view(word).substr(equals + 1), value)) return error("cannot read '" + word + "'");
    test.fault_error = static_cast<u32>(value);
    return {};
}

Result<void> Parser::read_line(const std::string& line) {
    std::istringstream words(line);
    std::string first, second;
    words >> first;
    if (first == "TEST") {
        if (!(words >> second) || in_test_) return error("TEST");
        in_test_ = true;
        InsnTest test;
        test.file = path_;
        test.name = second;
        test.line = line_;
        const size_t entry = file_.tests.size() * 8;
        if (entry + 8 > file_.image.size()) return error("more tests than in the binary");
        test.start = load<u32>(file_.image.data() + entry);
        test.end = load<u32>(file_.image.data() + entry + 4);
        file_.tests.push_back(test);
        return {};
    }
    if (first == "END") {
        if (!in_test_) return error("END without TEST");
        in_test_ = false;
        return {};
    }
    if (first != ";SET" && first != ";EXPECT" && first != ";FAULT") return {};
    if (!in_test_) return error("a directive outside of a test");
    if (first == ";SET") return read_items(words, file_.tests.back().set);
    if (first == ";EXPECT") return read_items(words, file_.tests.back().expect);
    words >> second;
    return read_fault(second);
}

Result<void> Parser::run() {
    std::ifstream stream(path_);
    if (!stream) return Error{ErrorKind::not_found, path_};
    std::string line;
    while (std::getline(stream, line)) {
        ++line_;
        if (auto result = read_line(line); !result) return result;
    }
    if (in_test_) return error("no END");
    if (file_.tests.empty()) return error("no test");
    return {};
}

std::string hexadecimal(u128 value) {
    std::string digits;
    do {
        digits.insert(digits.begin(), "0123456789ABCDEF"[static_cast<unsigned>(value & 15)]);
        value >>= 4;
    } while (value);
    return "0x" + digits;
}

u128 read_bytes(const u8* bytes, unsigned size) {
    u128 value = 0;
    std::memcpy(&value, bytes, size);
    return value;
}

std::string fault_text(const std::optional<InsnFault>& fault) {
    if (!fault) return "no fault";
    const char* name = fault->vector < std::size(kVectors) ? kVectors[fault->vector] : "?";
    return std::string(name) + "=" + hexadecimal(fault->error);
}

bool fault_as_expected(const InsnTest& test, const std::optional<InsnFault>& fault) {
    if (!test.fault_vector) return !fault;
    return fault && fault->vector == *test.fault_vector && (!test.fault_error || fault->error == *test.fault_error);
}

}  // namespace

Result<TestFile> load_test_file(const std::string& source, const std::string& binary) {
    TestFile file;
    std::ifstream stream(binary, std::ios::binary);
    if (!stream) return Error{ErrorKind::not_found, binary};
    file.image.assign(std::istreambuf_iterator<char>(stream), {});
    if (file.image.size() > kCodeRegion.size - kPageSize) return Error{ErrorKind::bad_format, binary + ": too large"};
    if (auto result = Parser(source, file).run(); !result) return result.error();
    return file;
}

void fill_memory(InsnEngine& engine, std::span<const u8> image) {
    for (const TestRegion& region : kTestRegions)
        if (region.address != kCodeRegion.address) std::memset(engine.memory(region.address), 0, region.size);
    std::copy(image.begin(), image.end(), engine.memory(kCodeRegion.address));
}

void prepare_test(const TestFile& file, const InsnTest& test, InsnEngine& engine, InsnState& state) {
    fill_memory(engine, file.image);
    state = InsnState{};
    state.gpr[4] = kStackTop;
    state.ip = test.start;
    for (const TestItem& item : test.set) {
        u8* at = item.name.empty() ? engine.memory(item.address) : find_register(state, item.name)->bytes;
        const u128 value = (item.value & item.mask) | (read_bytes(at, item.size) & ~item.mask);
        std::memcpy(at, &value, item.size);
    }
}

std::vector<std::string> differences(const InsnTest& test, const InsnOutcome& outcome, InsnEngine& engine) {
    std::vector<std::string> lines;
    if (outcome.timed_out) lines.push_back("did not come to its end");
    if (!fault_as_expected(test, outcome.fault)) {
        const std::string at = hexadecimal(outcome.state.ip - test.start);
        lines.push_back("ended in " + fault_text(outcome.fault) + " at START+" + at);
    }
    InsnState state = outcome.state;
    for (const TestItem& item : test.expect) {
        const u8* at = item.name.empty() ? engine.memory(item.address) : find_register(state, item.name)->bytes;
        const u128 width = item.size == 16 ? ~u128{0} : (u128{1} << (8 * item.size)) - 1;
        const u128 actual = read_bytes(at, item.size) & item.mask & width;
        if (actual != (item.value & item.mask & width))
            lines.push_back("expected " + item.text + ", got " + hexadecimal(actual));
    }
    return lines;
}

}  // namespace lodge
