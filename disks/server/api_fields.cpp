#include "disks/server/api_fields.h"

#include <algorithm>
#include <limits>

namespace lodge::server {

namespace {

// Control characters would break lines of logs and menus.
bool is_line(const std::string& text, size_t longest) {
    return text.size() <= longest &&
           std::none_of(text.begin(), text.end(), [](unsigned char c) { return c < ' ' || c == 0x7F; });
}

}  // namespace

Result<ApiFields> ApiFields::parse(const std::string& body) {
    ApiFields fields;
    fields.object_ = nlohmann::json::parse(body, nullptr, false);
    if (!fields.object_.is_object()) return Error{ErrorKind::usage, "the request's body is no JSON object"};
    return fields;
}

const nlohmann::json* ApiFields::find(const std::string& name) {
    known_.insert(name);
    const auto found = object_.find(name);
    return found == object_.end() ? nullptr : &*found;
}

void ApiFields::fail(const std::string& name, const std::string& why) {
    if (!error_) error_ = Error{ErrorKind::usage, "the field '" + name + "' " + why};
}

void ApiFields::text(const std::string& name, std::string& value, size_t longest) {
    const auto* field = find(name);
    if (!field) return;
    if (field->is_null())
        value.clear();
    else if (field->is_string() && is_line(field->get_ref<const std::string&>(), longest))
        value = *field;
    else
        fail(name, "is no line of text of at most " + std::to_string(longest) + " bytes");
}

void ApiFields::texts(const std::string& name, std::vector<std::string>& value, size_t most, size_t longest) {
    const auto* field = find(name);
    if (!field) return;
    value.clear();
    if (field->is_null()) return;
    const auto is_text = [&](const nlohmann::json& each) {
        return each.is_string() && is_line(each.get_ref<const std::string&>(), longest);
    };
    if (!field->is_array() || field->size() > most || !std::all_of(field->begin(), field->end(), is_text))
        return fail(name, "is no list of at most " + std::to_string(most) + " lines of text");
    for (const auto& each : *field) value.push_back(each);
}

void ApiFields::flag(const std::string& name, bool& value) {
    const auto* field = find(name);
    if (!field) return;
    if (!field->is_boolean()) return fail(name, "is neither true nor false");
    value = *field;
}

void ApiFields::number(const std::string& name, u64& value, u64 most) {
    const auto* field = find(name);
    if (!field) return;
    if (!field->is_number_unsigned() || field->get<u64>() > most)
        return fail(name, "is no whole number from 0 to " + std::to_string(most));
    value = *field;
}

void ApiFields::number(const std::string& name, u32& value) {
    u64 wide = value;
    number(name, wide, std::numeric_limits<u32>::max());
    value = static_cast<u32>(wide);
}

void ApiFields::number(const std::string& name, i32& value) {
    const auto* field = find(name);
    if (!field) return;
    constexpr i64 least = std::numeric_limits<i32>::min(), most = std::numeric_limits<i32>::max();
    // What does not fit i64 is an unsigned number, and reads as a negative one here only if we let it.
    const bool fits = field->is_number_unsigned() ? field->get<u64>() <= static_cast<u64>(most)
                                                  : field->is_number_integer() && field->get<i64>() >= least;
    if (!fits) return fail(name, "is no whole number of 32 bits");
    value = static_cast<i32>(field->get<i64>());
}

Result<void> ApiFields::end() const {
    if (error_) return *error_;
    for (const auto& [name, value] : object_.items())
        if (!known_.contains(name)) return Error{ErrorKind::usage, "there is no field '" + name + "' here"};
    return {};
}

}  // namespace lodge::server
