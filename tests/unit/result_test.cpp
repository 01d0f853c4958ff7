#include "core/base/result.h"

#include <doctest/doctest.h>

#include <memory>

using namespace lodge;

namespace {

Result<int> half(int value) {
    if (value % 2) return Error{ErrorKind::usage, std::to_string(value) + " is odd"};
    return value / 2;
}

Result<std::string> describe(int value) {
    LODGE_TRY(half(value));
    return std::string("even");
}

Result<void> require_even(int value) {
    LODGE_TRY(half(value));
    return {};
}

}  // namespace

TEST_CASE("result: a value or an error, and LODGE_TRY hands the error on") {
    CHECK(*half(42) == 21);
    CHECK_FALSE(half(3).ok());
    CHECK(half(3).error().kind == ErrorKind::usage);
    CHECK(describe(4)->size() == 4);
    CHECK(describe(5).error().context == "5 is odd");
    CHECK(require_even(6).ok());
    CHECK(require_even(7).error().context == "7 is odd");
}

TEST_CASE("result: values that can only be moved, and values that are themselves errors' neighbours") {
    Result<std::unique_ptr<int>> made(std::make_unique<int>(5));
    REQUIRE(made);
    const std::unique_ptr<int> taken = std::move(*made);
    CHECK(*taken == 5);
    Result<std::string> text(std::string("no error"));
    CHECK(text.ok());
}
