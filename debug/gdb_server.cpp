#include "debug/gdb_server.h"

#include <algorithm>

#include "debug/agent_expression.h"
#include "debug/text.h"

namespace lodge::debug {

namespace {

// Error numbers mean nothing to gdb; these are Linux's EPERM, EINVAL and EFAULT.
constexpr const char* kRefused = "E01";
constexpr const char* kBadPacket = "E16";
constexpr const char* kNoMemory = "E0e";

constexpr unsigned kTrap = 5, kInterrupted = 2;  // gdb's signal numbers

// The linear addresses as gdb may use them. What a device would answer there is no memory to us, so that no read of
// gdb's can do harm, and the whole space can be offered.
constexpr const char* kMemoryMap =
    "<?xml version=\"1.0\"?>\n"
    "<!DOCTYPE memory-map PUBLIC \"+//IDN gnu.org//DTD GDB Memory Map V1.0//EN\" "
    "\"http://sourceware.org/gdb/gdb-memory-map.dtd\">\n"
    "<memory-map>\n"
    "<memory type=\"ram\" start=\"0x0\" length=\"0x8000000000000000\"/>\n"
    "<memory type=\"ram\" start=\"0x8000000000000000\" length=\"0x8000000000000000\"/>\n"
    "</memory-map>\n";

std::optional<u64> parse_hex(std::string_view text) {
    const auto value = take_hex(text);
    return text.empty() ? value : std::nullopt;
}

// "addr,length" and what follows.
bool take_range(std::string_view& text, u64& address, u64& length) {
    const auto first = take_hex(text);
    if (!first || !take_token(text, ",")) return false;
    const auto second = take_hex(text);
    if (!second) return false;
    address = *first;
    length = *second;
    return true;
}

bool is_our_thread(std::string_view thread) {
    return thread == "-1" || thread == "0" || thread == "1" || thread == "01";
}

}  // namespace

GdbServer::GdbServer(Debugger& debugger, GdbArchitecture architecture, Send send)
    : debugger_(debugger),
      inspector_(debugger.machine()),
      monitor_(debugger, inspector_),
      send_(std::move(send)),
      layout_(architecture) {
    debugger_.add_listener(*this);
    add_own_commands();
}

GdbServer::~GdbServer() {
    debugger_.remove_listener(*this);
}

void GdbServer::add_own_commands() {
    monitor_.add("physical", "on|off", "whether gdb's memory commands take physical addresses",
                 [this](const std::vector<std::string>& words, const Monitor::Output& out) {
                     if (words.size() > 1 || (words.size() == 1 && words[0] != "on" && words[0] != "off")) return false;
                     if (words.size() == 1) physical_ = words[0] == "on";
                     out(physical_ ? "on\n" : "off\n");
                     return true;
                 });
    monitor_.add("layout", "i386|x86-64", "the registers that gdb sees from its next connection on",
                 [this](const std::vector<std::string>& words, const Monitor::Output& out) {
                     if (words.size() != 1 || (words[0] != "i386" && words[0] != "x86-64")) return false;
                     const bool wide = words[0] == "x86-64";
                     next_layout_ = wide ? GdbArchitecture::x86_64 : GdbArchitecture::i386;
                     out("'disconnect' and connect again\n");
                     return true;
                 });
}

void GdbServer::receive(std::span<const u8> bytes) {
    reader_.feed(bytes);
    while (const auto event = reader_.next()) take(*event);
}

void GdbServer::reset() {
    reader_.reset();
    attached_ = no_ack_ = awaits_stop_ = awaits_monitor_ = physical_ = false;
    last_sent_.clear();
    gdb_points_.clear();
    debugger_.remove_all_of(this);
    debugger_.remove_all_of(&monitor_);
    if (next_layout_) layout_ = GdbLayout(*std::exchange(next_layout_, std::nullopt));
}

void GdbServer::take(const GdbEvent& event) {
    switch (event.kind) {
        case GdbEvent::Kind::ack:
            return;
        case GdbEvent::Kind::nack:
            if (!no_ack_ && !last_sent_.empty()) send_(last_sent_);
            return;
        case GdbEvent::Kind::interrupt:
            if (attached_) debugger_.pause();
            return;
        case GdbEvent::Kind::corrupt:
            if (!no_ack_) send_("-");
            return;
        case GdbEvent::Kind::too_long:
            if (!no_ack_) send_("+");
            return send(kBadPacket);
        case GdbEvent::Kind::packet:
            if (!no_ack_) send_("+");
            return answer(event.payload);
    }
}

void GdbServer::answer(std::string_view packet) {
    attach();
    no_reply_ = false;
    const std::string reply = reply_to(packet);
    if (!no_reply_) send(reply);
    if (std::exchange(ending_acks_, false)) no_ack_ = true;
}

void GdbServer::send(std::string_view payload) {
    last_sent_ = frame(payload);
    send_(last_sent_);
}

// Text for gdb's console, in pieces that any gdb takes.
void GdbServer::print(std::string_view text) {
    constexpr size_t kPiece = 1000;
    for (size_t at = 0; at < text.size(); at += kPiece) send("O" + to_hex(text.substr(at, kPiece)));
}

// --- Stopped, running, gone

void GdbServer::attach() {
    if (attached_) return;
    attached_ = true;
    debugger_.pause();
}

void GdbServer::detach() {
    gdb_points_.clear();
    debugger_.remove_all_of(this);
    debugger_.remove_all_of(&monitor_);
    attached_ = awaits_stop_ = awaits_monitor_ = false;
    debugger_.resume();
}

void GdbServer::on_stopped(const Stop& stop) {
    if (awaits_monitor_) {
        awaits_monitor_ = false;
        print(stop.text + "\n");
        return send("OK");
    }
    if (!awaits_stop_) return;
    awaits_stop_ = false;
    const bool gdb_knows = stop.reason == StopReason::paused || stop.reason == StopReason::step ||
                           (stop.place && (std::holds_alternative<CodePoint>(*stop.place) ||
                                           std::holds_alternative<DataPoint>(*stop.place)));
    if (!gdb_knows) print("lodge: " + stop.text + "\n");
    send(stop_reply(stop));
}

void GdbServer::on_ended(const RunResult& result) {
    if (!attached_) return;
    awaits_monitor_ = false;
    if (!std::exchange(awaits_stop_, false)) return;
    const int status = result.why == RunEnd::exit_port ? result.exit_status & 0xFF : 0;
    send(format("W%02x", static_cast<unsigned>(status)));
}

std::string GdbServer::stop_reply(const Stop& stop) const {
    std::string reply = format("T%02x", stop.reason == StopReason::paused ? kInterrupted : kTrap);
    if (stop.place) {
        if (const auto* code = std::get_if<CodePoint>(&*stop.place)) {
            reply += code->hardware ? "hwbreak:;" : "swbreak:;";
        } else if (const auto* data = std::get_if<DataPoint>(&*stop.place)) {
            reply += data->on_read && data->on_write ? "awatch:" : data->on_read ? "rwatch:" : "watch:";
            const u64 where = std::max(data->linear, stop.details.access ? stop.details.access->address : 0);
            reply += format("%llx;", static_cast<unsigned long long>(where));
        }
    }
    for (const size_t number : {layout_.program_counter(), layout_.stack_pointer()})
        reply += format("%02zx:", number) + register_digits(number) + ";";
    return reply + "thread:1;";
}

std::string GdbServer::continue_or_step(std::string_view packet) {
    std::string_view rest = packet.substr(1);
    if (packet[0] == 'C' || packet[0] == 'S') {
        if (!take_hex(rest)) return kBadPacket;
        if (!rest.empty() && !take_token(rest, ";")) return kBadPacket;
    }
    if (!rest.empty()) {
        const auto address = parse_hex(rest);
        RegisterBytes bytes{};
        if (!address) return kBadPacket;
        store(bytes.data(), *address);
        if (!write_register(inspector_.cpu(), *find_register("pc"), bytes)) return kRefused;
    }
    const bool steps = packet[0] == 's' || packet[0] == 'S';
    return resume(steps ? "s" : "c", {}) ? "" : kBadPacket;
}

std::string GdbServer::continue_by_action(std::string_view actions) {
    while (take_token(actions, ";")) {
        const size_t end = std::min(actions.find(';'), actions.size());
        std::string_view action = actions.substr(0, end);
        actions.remove_prefix(end);
        const size_t colon = action.find(':');
        if (colon != std::string_view::npos) {
            if (!is_our_thread(action.substr(colon + 1))) continue;
            action = action.substr(0, colon);
        }
        if (action.empty()) return kBadPacket;
        return resume(action.substr(0, 1), action.substr(1)) ? "" : kBadPacket;
    }
    return kBadPacket;
}

bool GdbServer::resume(std::string_view action, std::string_view rest) {
    Step step;
    step.hold_interrupts = debugger_.manners.hold_interrupts;
    step.faults = debugger_.manners.faults;
    if (action == "r") {
        step.until = StepUntil::out_of_range;
        if (!take_range(rest, step.first, step.last) || !rest.empty()) return false;
    }
    const bool steps = action == "s" || action == "S" || action == "r";
    if (!steps && action != "c" && action != "C" && action != "t") return false;
    no_reply_ = awaits_stop_ = true;
    if (action == "t") {
        if (debugger_.running())
            debugger_.pause();
        else
            on_stopped(debugger_.last_stop());
    } else if (!debugger_.running()) {
        if (steps)
            static_cast<void>(debugger_.step(step));
        else
            debugger_.resume();
    }
    return true;
}

// --- Packets

std::string GdbServer::reply_to(std::string_view packet) {
    if (packet.empty()) return "";
    const std::string_view rest = packet.substr(1);
    switch (packet[0]) {
        case '?':
            debugger_.pause();
            return stop_reply(debugger_.last_stop());
        case 'c':
        case 'C':
        case 's':
        case 'S':
            return continue_or_step(packet);
        case 'g':
            return read_all_registers();
        case 'G':
            return write_all_registers(rest);
        case 'p':
            return read_one_register(rest);
        case 'P':
            return write_one_register(rest);
        case 'm':
            return read_memory(rest, false);
        case 'x':
            return read_memory(rest, true);
        case 'M':
            return write_memory(rest, false);
        case 'X':
            return write_memory(rest, true);
        case 'Z':
        case 'z':
            return change_point(packet);
        case 'H':
            return rest.size() > 1 && is_our_thread(rest.substr(1)) ? "OK" : kRefused;
        case 'T':
            return is_our_thread(rest) ? "OK" : kRefused;
        case 'D':
            detach();
            return "OK";
        case 'k':
            no_reply_ = true;
            detach();
            return "";
        case 'q':
            return reply_to_query(packet);
        case 'Q':
            return reply_to_setting(packet);
        case 'v':
            return reply_to_long(packet);
        default:
            return "";
    }
}

std::string GdbServer::reply_to_query(std::string_view packet) {
    if (packet == "qSupported" || packet.starts_with("qSupported:"))
        return format("PacketSize=%zx;", kMostPayload) +
               "QStartNoAckMode+;qXfer:features:read+;qXfer:memory-map:read+;qXfer:threads:read+;vContSupported+;"
               "swbreak+;hwbreak+;ConditionalBreakpoints+;binary-upload+";
    if (packet == "qC") return "QC1";
    if (packet == "qAttached" || packet.starts_with("qAttached:")) return "1";
    if (packet == "qfThreadInfo") return "m1";
    if (packet == "qsThreadInfo") return "l";
    if (packet.starts_with("qThreadExtraInfo,")) return to_hex("CPU 0, " + std::string(name_of(inspector_.mode())));
    if (packet == "qOffsets") return "Text=0;Data=0;Bss=0";
    if (packet == "qSymbol::") return "OK";
    if (packet.starts_with("qXfer:")) return transfer(packet);
    if (take_token(packet, "qRcmd,")) return run_monitor(packet);
    return "";
}

std::string GdbServer::reply_to_setting(std::string_view packet) {
    if (packet != "QStartNoAckMode") return "";
    ending_acks_ = true;
    return "OK";
}

std::string GdbServer::reply_to_long(std::string_view packet) {
    if (packet == "vCont?") return "vCont;c;C;s;S;t;r";
    if (take_token(packet, "vCont")) return continue_by_action(packet);
    if (packet.starts_with("vKill;")) {
        detach();
        return "OK";
    }
    return "";
}

// qXfer:OBJECT:read:ANNEX:OFFSET,LENGTH
std::string GdbServer::transfer(std::string_view packet) {
    std::string object;
    if (take_token(packet, "qXfer:features:read:target.xml:")) {
        object = layout_.target_xml();
    } else if (take_token(packet, "qXfer:memory-map:read::")) {
        object = kMemoryMap;
    } else if (take_token(packet, "qXfer:threads:read::")) {
        object = "<?xml version=\"1.0\"?>\n<threads>\n<thread id=\"1\" core=\"0\" name=\"CPU 0\">" +
                 std::string(name_of(inspector_.mode())) + (inspector_.cpu().state.halted ? ", halted" : "") +
                 "</thread>\n</threads>\n";
    } else {
        return packet.starts_with("qXfer:features:read:") ? "E00" : "";
    }
    u64 offset = 0, length = 0;
    if (!take_range(packet, offset, length) || !packet.empty()) return kBadPacket;
    if (offset > object.size()) return kBadPacket;
    constexpr size_t kMostAtOnce = 0x1000;
    const std::string_view part = std::string_view(object).substr(offset, std::min<u64>(length, kMostAtOnce));
    return (offset + part.size() == object.size() ? "l" : "m") + escape(part);
}

std::string GdbServer::run_monitor(std::string_view digits) {
    const auto line = from_hex(digits);
    if (!line) return kBadPacket;
    const bool ran = debugger_.running();
    monitor_.execute(*line, [this](std::string_view text) { print(text); });
    if (ran || !debugger_.running()) return "OK";
    no_reply_ = awaits_monitor_ = true;
    return "";
}

// --- Registers

std::string GdbServer::register_digits(size_t number) const {
    const GdbRegister& which = layout_.registers()[number];
    const RegisterBytes value = which.lodge ? read_register(debugger_.machine().cpu(), *which.lodge) : RegisterBytes{};
    return to_hex(std::span(value).first(which.bits / 8));
}

bool GdbServer::set_register(size_t number, std::string_view digits) {
    const GdbRegister& which = layout_.registers()[number];
    const auto bytes = from_hex(digits);
    if (!bytes || bytes->size() != which.bits / 8) return false;
    RegisterBytes value = read_register(inspector_.cpu(), *which.lodge);
    const RegisterBytes old = value;
    std::copy(bytes->begin(), bytes->end(), value.begin());
    // In the 32-bit layout the upper half goes with the write, as it would with an instruction's.
    if (which.bits == 32 && which.lodge->bits == 64) store<u32>(value.data() + 4, 0);
    return value == old || write_register(inspector_.cpu(), *which.lodge, value).ok();
}

std::string GdbServer::read_all_registers() const {
    std::string digits;
    for (size_t i = 0; i < layout_.registers().size(); ++i) digits += register_digits(i);
    return digits;
}

std::string GdbServer::write_all_registers(std::string_view digits) {
    for (size_t i = 0; i < layout_.registers().size(); ++i) {
        const size_t length = layout_.registers()[i].bits / 4;
        if (digits.size() < length) return kBadPacket;
        if (!set_register(i, digits.substr(0, length))) return kRefused;
        digits.remove_prefix(length);
    }
    return digits.empty() ? "OK" : kBadPacket;
}

std::string GdbServer::read_one_register(std::string_view packet) const {
    const auto number = parse_hex(packet);
    return number && *number < layout_.registers().size() ? register_digits(*number) : kBadPacket;
}

std::string GdbServer::write_one_register(std::string_view packet) {
    const auto number = take_hex(packet);
    if (!number || *number >= layout_.registers().size() || !take_token(packet, "=")) return kBadPacket;
    return set_register(*number, packet) ? "OK" : kRefused;
}

// --- Memory

size_t GdbServer::read(u64 address, std::span<u8> into) {
    return physical_ ? inspector_.read_physical(address, into) : inspector_.read_linear(address, into);
}

bool GdbServer::write(u64 address, std::string_view from) {
    const std::span<const u8> bytes(reinterpret_cast<const u8*>(from.data()), from.size());
    return physical_ ? inspector_.write_physical(address, bytes) : inspector_.write_linear(address, bytes);
}

std::string GdbServer::read_memory(std::string_view packet, bool binary) {
    u64 address = 0, length = 0;
    if (!take_range(packet, address, length) || !packet.empty()) return kBadPacket;
    std::vector<u8> bytes(std::min<u64>(length, (kMostPayload - 8) / 2));
    const size_t have = read(address, bytes);
    if (have == 0 && !bytes.empty()) return kNoMemory;
    bytes.resize(have);
    if (!binary) return to_hex(bytes);
    return "b" + escape({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

std::string GdbServer::write_memory(std::string_view packet, bool binary) {
    u64 address = 0, length = 0;
    if (!take_range(packet, address, length) || !take_token(packet, ":")) return kBadPacket;
    const auto bytes = binary ? std::optional<std::string>(packet) : from_hex(packet);
    if (!bytes || bytes->size() != length) return kBadPacket;
    return write(address, *bytes) ? "OK" : kNoMemory;
}

// --- Breakpoints and watchpoints

std::optional<Place> GdbServer::place_of(u64 type, u64 address, u64 size) const {
    switch (type) {
        case 0:
        case 1:
            return CodePoint{address, type == 1};
        case 2:
            return DataPoint{address, size, false, true};
        case 3:
            return DataPoint{address, size, true, false};
        case 4:
            return DataPoint{address, size, true, true};
        default:
            return {};
    }
}

// ;Xlength,bytecode repeated: any of them that is true, or cannot be told, stops.
std::function<bool()> GdbServer::condition_of(std::string_view text) {
    std::vector<std::vector<u8>> expressions;
    while (take_token(text, ";X") || take_token(text, "X")) {
        const auto length = take_hex(text);
        if (!length || !take_token(text, ",") || *length > text.size() / 2) break;
        const auto code = from_hex(text.substr(0, *length * 2));
        text.remove_prefix(*length * 2);
        if (!code) break;
        expressions.emplace_back(code->begin(), code->end());
    }
    if (expressions.empty()) return nullptr;
    AgentTarget target;
    target.read_register = [this](u64 number) -> std::optional<u64> {
        if (number >= layout_.registers().size() || !layout_.registers()[number].lodge) return {};
        return load<u64>(read_register(inspector_.cpu(), *layout_.registers()[number].lodge).data());
    };
    target.read_memory = [this](u64 linear, std::span<u8> into) {
        return inspector_.read_linear(linear, into) == into.size();
    };
    return [expressions = std::move(expressions), target = std::move(target)] {
        return std::any_of(expressions.begin(), expressions.end(),
                           [&](const auto& code) { return evaluate(code, target).value_or(1) != 0; });
    };
}

// Ztype,addr,kind[;conditions] or ztype,addr,kind. Inserting again changes the conditions.
std::string GdbServer::change_point(std::string_view packet) {
    const bool inserts = packet[0] == 'Z';
    packet.remove_prefix(1);
    const auto type = take_hex(packet);
    u64 address = 0, size = 0;
    if (!type || !take_token(packet, ",") || !take_range(packet, address, size)) return kBadPacket;
    const auto place = place_of(*type, address, size);
    if (!place) return "";
    const auto key = std::tuple(*type, address, size);
    const auto found = gdb_points_.find(key);
    StopPoint* old = found == gdb_points_.end() ? nullptr : debugger_.find(found->second);
    if (!inserts) {
        if (old) debugger_.remove(found->second);
        gdb_points_.erase(key);
        return "OK";
    }
    if (old) {
        old->condition = condition_of(packet);
        return "OK";
    }
    StopPoint point;
    point.place = *place;
    point.condition = condition_of(packet);
    point.owner = this;
    const auto number = debugger_.add(std::move(point));
    if (!number) return kRefused;
    gdb_points_[key] = *number;
    return "OK";
}

}  // namespace lodge::debug
