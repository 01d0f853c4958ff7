#include "core/base/state_io.h"

#include <cassert>

namespace lodge {

namespace {

constexpr u8 kField = 1;
constexpr u8 kSection = 2;
constexpr int kDeepest = 16;

template <class T>
void append(std::vector<u8>& out, T value) {
    const size_t at = out.size();
    out.resize(at + sizeof value);
    store(out.data() + at, value);
}

// Takes `size` bytes from the front of `from`; false when there are fewer.
bool take_bytes(std::span<const u8>& from, size_t size, std::span<const u8>& bytes) {
    if (from.size() < size) return false;
    bytes = from.first(size);
    from = from.subspan(size);
    return true;
}

template <class T>
bool take_integer(std::span<const u8>& from, T& value) {
    std::span<const u8> raw;
    if (!take_bytes(from, sizeof value, raw)) return false;
    value = load<T>(raw.data());
    return true;
}

bool take_name(std::span<const u8>& from, std::string& name) {
    u8 length = 0;
    std::span<const u8> raw;
    if (!take_integer(from, length) || !take_bytes(from, length, raw)) return false;
    name.assign(raw.begin(), raw.end());
    return true;
}

}  // namespace

StateIo::StateIo() : loading_(false) {}

StateIo::StateIo(std::span<const u8> saved) : loading_(true), in_(saved.begin(), saved.end()) {
    if (!parse(in_, root_, 0)) fail("saved state is damaged");
    path_.push_back(&root_);
}

void StateIo::fail(std::string why) {
    if (!failure_) failure_ = std::move(why);
}

Result<void> StateIo::result() const {
    if (failure_) return Error{ErrorKind::bad_format, *failure_};
    return {};
}

std::vector<u8> StateIo::take() {
    assert(open_.empty());
    return std::move(out_);
}

u32 StateIo::version() const {
    return loading_ ? path_.back()->version : versions_.back();
}

bool StateIo::has(std::string_view name) const {
    return !loading_ || path_.back()->fields.contains(name);
}

void StateIo::put_name(std::string_view name) {
    assert(name.size() < 256);
    append(out_, static_cast<u8>(name.size()));
    out_.insert(out_.end(), name.begin(), name.end());
}

bool StateIo::begin_section(std::string_view name, u32 version) {
    if (!loading_) {
        append(out_, kSection);
        put_name(name);
        append(out_, version);
        open_.push_back(out_.size());
        versions_.push_back(version);
        append(out_, u32{0});
        return true;
    }
    const auto found = path_.back()->sections.find(name);
    if (found == path_.back()->sections.end()) {
        fail("saved state lacks section '" + std::string(name) + "'");
        return false;
    }
    if (found->second.version > version) {
        fail("section '" + std::string(name) + "' has version " + std::to_string(found->second.version) +
             ", newer than this lodge's " + std::to_string(version));
        return false;
    }
    path_.push_back(&found->second);
    return true;
}

void StateIo::end_section() {
    if (loading_) {
        path_.pop_back();
        return;
    }
    const size_t at = open_.back();
    store(out_.data() + at, static_cast<u32>(out_.size() - at - sizeof(u32)));
    open_.pop_back();
    versions_.pop_back();
}

bool StateIo::parse(std::span<const u8> payload, Section& into, int depth) {
    if (depth > kDeepest) return false;
    while (!payload.empty()) {
        u8 kind = 0;
        std::string name;
        if (!take_integer(payload, kind) || !take_name(payload, name)) return false;
        u32 version = 0, size = 0;
        std::span<const u8> body;
        if (kind != kField && kind != kSection) return false;
        if (kind == kSection && !take_integer(payload, version)) return false;
        if (!take_integer(payload, size) || !take_bytes(payload, size, body)) return false;
        if (kind == kField) {
            into.fields[name] = body;
            continue;
        }
        Section& child = into.sections[name];
        child.version = version;
        if (!parse(body, child, depth + 1)) return false;
    }
    return true;
}

const std::span<const u8>* StateIo::find(std::string_view name) {
    const auto found = path_.back()->fields.find(name);
    if (found == path_.back()->fields.end()) {
        fail("saved state lacks field '" + std::string(name) + "'");
        return nullptr;
    }
    return &found->second;
}

void StateIo::bytes(std::string_view name, std::span<u8> value) {
    if (!loading_) {
        append(out_, kField);
        put_name(name);
        append(out_, static_cast<u32>(value.size()));
        out_.insert(out_.end(), value.begin(), value.end());
        return;
    }
    const auto* saved = find(name);
    if (!saved) return;
    if (saved->size() != value.size()) {
        fail("field '" + std::string(name) + "' has " + std::to_string(saved->size()) + " bytes, not " +
             std::to_string(value.size()));
        return;
    }
    if (!value.empty()) std::memcpy(value.data(), saved->data(), value.size());
}

void StateIo::blob(std::string_view name, std::vector<u8>& value, size_t most) {
    if (!loading_) {
        assert(value.size() <= most);
        bytes(name, value);
        return;
    }
    const auto* saved = find(name);
    if (!saved) return;
    if (saved->size() > most) {
        fail("field '" + std::string(name) + "' is too long");
        return;
    }
    value.assign(saved->begin(), saved->end());
}

void StateIo::text(std::string_view name, std::string& value, size_t most) {
    std::vector<u8> raw(value.begin(), value.end());
    blob(name, raw, most);
    if (loading_) value.assign(raw.begin(), raw.end());
}

}  // namespace lodge
