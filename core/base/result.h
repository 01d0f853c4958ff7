// Result<T>: the value, or why there is none. For host and user errors; a guest's faults are not errors (see core/cpu).
#pragma once

#include <cassert>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace lodge {

enum class ErrorKind {
    usage,        // the caller asked for what cannot be (bad option, bad size)
    not_found,    // no such file or object
    bad_format,   // an image or configuration that cannot be what it claims
    unsupported,  // valid, but lodge does not do it
    locked,       // somebody else holds it
    io,           // the host failed to read or write
    no_space,     // the host's disk is full
    would_wait,   // not without waiting, and nobody wanted to wait
    guest,        // the guest's state does not allow it
};

// One line for people: `context` names the file, the place and the remedy.
struct Error {
    ErrorKind kind = ErrorKind::io;
    std::string context;
};

template <class T>
class [[nodiscard]] Result {
  public:
    Result(T value) : value_(std::in_place_index<0>, std::move(value)) {}
    Result(Error error) : value_(std::in_place_index<1>, std::move(error)) {}

    bool ok() const { return value_.index() == 0; }
    explicit operator bool() const { return ok(); }

    T& operator*() { return std::get<0>(value_); }
    const T& operator*() const { return std::get<0>(value_); }
    T* operator->() { return &std::get<0>(value_); }
    const T* operator->() const { return &std::get<0>(value_); }

    Error& error() { return std::get<1>(value_); }
    const Error& error() const { return std::get<1>(value_); }

  private:
    std::variant<T, Error> value_;
};

template <>
class [[nodiscard]] Result<void> {
  public:
    Result() = default;
    Result(Error error) : error_(std::move(error)) {}

    bool ok() const { return !error_; }
    explicit operator bool() const { return ok(); }

    Error& error() { return *error_; }
    const Error& error() const { return *error_; }

  private:
    std::optional<Error> error_;
};

// Returns from the enclosing function with the error of `expression`, if it has one.
#define LODGE_TRY(expression)                                                             \
    do {                                                                                  \
        if (auto lodge_result = (expression); !lodge_result) return lodge_result.error(); \
    } while (false)

}  // namespace lodge
