#include "debug/state_tree.h"

#include <algorithm>

#include "debug/text.h"

namespace lodge::debug {

namespace {

constexpr int kDeepest = 32;
constexpr u8 kField = 1, kSection = 2;
constexpr size_t kMostShown = 64;  // bytes of a field

class Reader {
  public:
    explicit Reader(std::span<const u8> bytes) : bytes_(bytes) {}

    bool at_end() const { return bytes_.empty(); }
    template <class T>
    bool number(T& value) {
        if (bytes_.size() < sizeof(T)) return false;
        value = load<T>(bytes_.data());
        bytes_ = bytes_.subspan(sizeof(T));
        return true;
    }
    bool take(size_t size, std::span<const u8>& part) {
        if (bytes_.size() < size) return false;
        part = bytes_.first(size);
        bytes_ = bytes_.subspan(size);
        return true;
    }
    bool name(std::string& name) {
        u8 length = 0;
        std::span<const u8> text;
        if (!number(length) || !take(length, text)) return false;
        name.assign(text.begin(), text.end());
        return true;
    }

  private:
    std::span<const u8> bytes_;
};

bool parse_items(std::span<const u8> payload, StateTree& into, int depth);

bool parse_section(Reader& reader, StateTree& into, int depth) {
    u32 version = 0, length = 0;
    std::span<const u8> payload;
    into.section = true;
    return reader.name(into.name) && reader.number(version) && reader.number(length) && reader.take(length, payload) &&
           parse_items(payload, into, depth);
}

bool parse_items(std::span<const u8> payload, StateTree& into, int depth) {
    Reader reader(payload);
    while (!reader.at_end()) {
        u8 kind = 0;
        StateTree& item = into.items.emplace_back();
        if (depth > kDeepest || !reader.number(kind)) return false;
        if (kind == kSection) {
            if (!parse_section(reader, item, depth + 1)) return false;
            continue;
        }
        u32 size = 0;
        std::span<const u8> bytes;
        if (kind != kField || !reader.name(item.name) || !reader.number(size) || !reader.take(size, bytes))
            return false;
        item.bytes.assign(bytes.begin(), bytes.end());
    }
    return true;
}

std::string value_text(const std::vector<u8>& bytes) {
    if (bytes.size() == 1 || bytes.size() == 2 || bytes.size() == 4 || bytes.size() == 8) {
        u64 value = 0;
        for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | bytes[i];
        return hex(value);
    }
    std::string text;
    for (size_t i = 0; i < bytes.size() && i < kMostShown; ++i) text += format(i ? " %02X" : "%02X", bytes[i]);
    if (bytes.size() > kMostShown) text += format(" ... (%zu bytes)", bytes.size());
    return text.empty() ? "(empty)" : text;
}

void print(const StateTree& tree, unsigned depth, std::string& text) {
    const std::string indent(2 * depth, ' ');
    for (const StateTree& item : tree.items) {
        if (item.section) {
            text += indent + item.name + ":\n";
            print(item, depth + 1, text);
        } else {
            text += indent + item.name + " = " + value_text(item.bytes) + "\n";
        }
    }
}

}  // namespace

std::optional<StateTree> parse_state(std::span<const u8> saved) {
    StateTree root;
    root.section = true;
    if (!parse_items(saved, root, 0)) return {};
    return root;
}

StateTree state_of(Device& device) {
    StateIo io;
    device.state(io);
    return parse_state(io.take()).value_or(StateTree{});
}

const StateTree* StateTree::find(std::string_view path) const {
    const size_t slash = path.find('/');
    const std::string_view first = path.substr(0, slash);
    const auto found =
        std::find_if(items.begin(), items.end(), [&](const StateTree& item) { return item.name == first; });
    if (found == items.end()) return nullptr;
    return slash == std::string_view::npos ? &*found : found->find(path.substr(slash + 1));
}

std::optional<u64> StateTree::number(std::string_view path) const {
    const StateTree* field = find(path);
    if (!field || field->section || field->bytes.size() > sizeof(u64)) return {};
    u64 value = 0;
    for (size_t i = field->bytes.size(); i-- > 0;) value = value << 8 | field->bytes[i];
    return value;
}

std::string state_text(const StateTree& tree) {
    std::string text;
    print(tree, 0, text);
    return text;
}

}  // namespace lodge::debug
