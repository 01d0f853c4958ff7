// Reading the JSON object that a request carries: each field is asked for by name and kind, and what is wrong or left
// over is an error for the one who sent it.
#pragma once

#include <nlohmann/json.hpp>

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/base/types.h"

namespace lodge::server {

// 64-bit counts beyond this are no exact numbers in JavaScript.
constexpr u64 kMostNumber = u64{1} << 53;

class ApiFields {
  public:
    // Usage: no JSON, or no object.
    static Result<ApiFields> parse(const std::string& body);

    bool has(const std::string& name) const { return object_.contains(name); }
    // These leave `value` alone where there is no such field. null counts as "" and as an empty list.
    void text(const std::string& name, std::string& value, size_t longest = 256);
    void texts(const std::string& name, std::vector<std::string>& value, size_t most = 64, size_t longest = 256);
    void flag(const std::string& name, bool& value);
    void number(const std::string& name, u64& value, u64 most = kMostNumber);
    void number(const std::string& name, u32& value);
    void number(const std::string& name, i32& value);
    // One of several words: `take` says whether it is one.
    template <class Take>
    void word(const std::string& name, Take take) {
        std::string text_value;
        text(name, text_value);
        if (has(name) && !error_ && !take(text_value)) fail(name, "is none of the words it can be");
    }

    // What is wrong, or what nobody asked for.
    Result<void> end() const;

  private:
    const nlohmann::json* find(const std::string& name);
    void fail(const std::string& name, const std::string& why);

    nlohmann::json object_;
    std::set<std::string> known_;
    std::optional<Error> error_;
};

}  // namespace lodge::server
