// The state walk: every stateful object has one function `void state(StateIo& io)` that names its fields; the same
// function saves and loads. A saved state is a tree of named, versioned sections; a field is found by its name, so
// fields may be added, and an object asks `io.version()` to fill in what an older state lacks.
//
// Binary form, all integers little-endian: a section is
//   u8 name length, name, u32 version, u32 payload length, payload
// and a payload is a sequence of items, each `u8 kind` (1 field, 2 section) and then
//   field: u8 name length, name, u32 size, bytes          section: as above.
// Loading never trusts the bytes: a bad state sets `failed()`, fields then keep their values, and the caller reports.
#pragma once

#include <array>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/base/types.h"

namespace lodge {

class StateIo {
  public:
    // A walk that saves. `take()` ends it.
    StateIo();
    // A walk that loads what `take()` returned. Parse errors show in `failed()`.
    explicit StateIo(std::span<const u8> saved);

    StateIo(const StateIo&) = delete;
    StateIo& operator=(const StateIo&) = delete;

    bool loading() const { return loading_; }
    bool failed() const { return failure_.has_value(); }
    // Marks the state as unusable; the first reason is kept.
    void fail(std::string why);
    Result<void> result() const;

    // The saved bytes.
    std::vector<u8> take();

    // Walks `body` in a section of its own. When loading, a missing section is a failure and skips the body.
    template <class Body>
    void section(std::string_view name, u32 version, Body body) {
        if (!begin_section(name, version)) return;
        body();
        end_section();
    }

    // The version of the section being loaded, or the current one when saving.
    u32 version() const;
    // Whether the section being loaded has that field (always true when saving).
    bool has(std::string_view name) const;

    // An integer, enum, bool, or trivially copyable struct without padding or pointers.
    template <class T>
    void field(std::string_view name, T& value) {
        static_assert(std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>);
        if constexpr (std::is_same_v<T, bool>) {
            u8 byte = value;
            bytes(name, std::span<u8>(&byte, 1));
            value = byte != 0;
        } else {
            bytes(name, std::span<u8>(reinterpret_cast<u8*>(&value), sizeof value));
        }
    }

    // Exactly `value.size()` bytes.
    void bytes(std::string_view name, std::span<u8> value);
    // A sequence of trivially copyable elements of any length up to `most` elements.
    template <class T>
    void sequence(std::string_view name, std::vector<T>& value, size_t most) {
        std::vector<u8> raw(value.size() * sizeof(T));
        if (!raw.empty()) std::memcpy(raw.data(), value.data(), raw.size());
        blob(name, raw, most * sizeof(T));
        if (!loading_) return;
        value.resize(raw.size() / sizeof(T));
        if (!value.empty()) std::memcpy(value.data(), raw.data(), value.size() * sizeof(T));
    }
    template <class T>
    void sequence(std::string_view name, std::deque<T>& value, size_t most) {
        std::vector<T> copy(value.begin(), value.end());
        sequence(name, copy, most);
        if (loading_) value.assign(copy.begin(), copy.end());
    }
    void blob(std::string_view name, std::vector<u8>& value, size_t most);
    void text(std::string_view name, std::string& value, size_t most = 4096);

  private:
    struct Section {
        u32 version = 0;
        std::map<std::string, std::span<const u8>, std::less<>> fields;
        std::map<std::string, Section, std::less<>> sections;
    };

    bool begin_section(std::string_view name, u32 version);
    void end_section();
    bool parse(std::span<const u8> payload, Section& into, int depth);
    const std::span<const u8>* find(std::string_view name);
    void put_name(std::string_view name);

    bool loading_;
    std::vector<u8> out_;
    std::vector<size_t> open_;   // saving: where each open section's payload length is
    std::vector<u32> versions_;  // of the open sections
    std::vector<u8> in_;
    Section root_;
    std::vector<Section*> path_;  // loading: the open sections, root first
    std::optional<std::string> failure_;
};

}  // namespace lodge
