#include "debug/expression.h"

#include "debug/text.h"

namespace lodge::debug {

namespace {

using Value = std::optional<u64>;
using Combine = u64 (*)(u64, u64);

struct Operator {
    std::string_view text;
    unsigned binding;  // larger is tighter
    Combine combine;
};
// Longer ones first.
constexpr Operator kOperators[] = {
    {"||", 1, [](u64 a, u64 b) { return u64{a || b}; }}, {"&&", 2, [](u64 a, u64 b) { return u64{a && b}; }},
    {"==", 3, [](u64 a, u64 b) { return u64{a == b}; }}, {"!=", 3, [](u64 a, u64 b) { return u64{a != b}; }},
    {"<=", 3, [](u64 a, u64 b) { return u64{a <= b}; }}, {">=", 3, [](u64 a, u64 b) { return u64{a >= b}; }},
    {"<", 3, [](u64 a, u64 b) { return u64{a < b}; }},   {">", 3, [](u64 a, u64 b) { return u64{a > b}; }},
    {"&", 4, [](u64 a, u64 b) { return a & b; }},        {"+", 5, [](u64 a, u64 b) { return a + b; }},
    {"-", 5, [](u64 a, u64 b) { return a - b; }},
};

bool in_word(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

class Parser {
  public:
    Parser(Inspector& inspector, std::string_view text) : inspector_(inspector), text_(text) {}

    Result<Expression> parse() {
        auto expression = binary(1);
        if (!expression) return expression;
        skip_blanks();
        if (at_ < text_.size()) return failed("something behind the expression");
        return expression;
    }

  private:
    static constexpr unsigned kDeepest = 32, kMostTerms = 256;

    Error failed(const char* why) const {
        return {ErrorKind::usage, "'" + std::string(text_) + "': " + why + " at character " + std::to_string(at_ + 1)};
    }
    void skip_blanks() {
        while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
    }
    bool take(std::string_view token) {
        skip_blanks();
        if (!text_.substr(at_).starts_with(token)) return false;
        at_ += token.size();
        return true;
    }
    const Operator* next_operator() {
        skip_blanks();
        for (const Operator& candidate : kOperators)
            if (text_.substr(at_).starts_with(candidate.text)) return &candidate;
        return nullptr;
    }

    Result<Expression> binary(unsigned loosest) {
        auto left = primary();
        while (left) {
            const Operator* op = next_operator();
            if (!op || op->binding < loosest) return left;
            at_ += op->text.size();
            auto right = binary(op->binding + 1);
            if (!right) return right;
            left = Expression([first = std::move(*left), second = std::move(*right), combine = op->combine]() -> Value {
                const Value a = first(), b = second();
                if (!a || !b) return {};
                return combine(*a, *b);
            });
        }
        return left;
    }

    Result<Expression> primary() {
        if (++terms_ > kMostTerms) return failed("too long");
        if (take("(")) return closed(")");
        if (take("[")) return memory(0);
        skip_blanks();
        if (take("%") || take("$")) {
        }
        const size_t begin = at_;
        while (at_ < text_.size() && in_word(text_[at_])) ++at_;
        const std::string word = lower_case(text_.substr(begin, at_ - begin));
        if (word.empty()) return failed("a number or a register is missing");
        if (at_ < text_.size() && text_[at_] == ':') return far_address(word);
        if (at_ < text_.size() && text_[at_] == '[')
            if (const unsigned size = size_of(word)) {
                ++at_;
                return memory(size);
            }
        if (auto value = number_or_register(word, false)) return *value;
        at_ = begin;
        return failed("neither a number nor a register");
    }

    // What stands in brackets, which have been opened.
    Result<Expression> closed(const char* end) {
        if (++depth_ > kDeepest) return failed("too deep");
        auto inner = binary(1);
        --depth_;
        if (inner && !take(end)) return failed("a bracket is not closed");
        return inner;
    }

    static unsigned size_of(const std::string& word) {
        return word == "byte" ? 1 : word == "word" ? 2 : word == "dword" ? 4 : word == "qword" ? 8 : 0;
    }

    Result<Expression> memory(unsigned size) {
        auto address = closed("]");
        if (!address) return address;
        return Expression([this_one = &inspector_, where = std::move(*address), size]() -> Value {
            const Value linear = where();
            const unsigned bytes = size ? size : code_bits(this_one->mode()) / 8;
            u8 value[8] = {};
            if (!linear || this_one->read_linear(*linear, {value, bytes}) != bytes) return {};
            return load<u64>(value);
        });
    }

    Result<Expression> far_address(const std::string& segment) {
        ++at_;
        const size_t begin = at_;
        while (at_ < text_.size() && in_word(text_[at_])) ++at_;
        const auto selector = number_or_register(segment, true);
        const auto offset = number_or_register(lower_case(text_.substr(begin, at_ - begin)), true);
        if (!selector || !offset) return failed("not SEGMENT:OFFSET");
        return Expression([this_one = &inspector_, first = *selector, second = *offset]() -> Value {
            const Value value = first();
            return *value > 0xFFFF ? Value{} : this_one->linear_of(static_cast<u16>(*value), *second());
        });
    }

    // `bare`: digits are hexadecimal even without 0x.
    std::optional<Expression> number_or_register(const std::string& word, bool bare) {
        if (const RegisterName* name = find_register(word))
            return Expression(
                [cpu = &inspector_.cpu(), name]() -> Value { return load<u64>(read_register(*cpu, *name).data()); });
        const bool prefixed = word.starts_with("0x");
        const Value number = parse_number(bare && !prefixed ? "0x" + word : word);
        if (!number) return {};
        return Expression([value = *number]() -> Value { return value; });
    }

    Inspector& inspector_;
    std::string_view text_;
    size_t at_ = 0;
    unsigned depth_ = 0, terms_ = 0;
};

}  // namespace

Result<Expression> parse_expression(Inspector& inspector, std::string_view text) {
    return Parser(inspector, text).parse();
}

Result<std::function<bool()>> parse_condition(Inspector& inspector, std::string_view text) {
    auto expression = parse_expression(inspector, text);
    if (!expression) return expression.error();
    return std::function<bool()>([value = std::move(*expression)] { return value().value_or(1) != 0; });
}

}  // namespace lodge::debug
