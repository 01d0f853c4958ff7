// The gdb remote protocol over a stream of bytes: gdb on one side, a Debugger on the other. Source: "Debugging with
// GDB", appendix E "GDB Remote Serial Protocol" (of GDB 13). All on the CPU thread; knows no socket.
//
// The machine is stopped when gdb first speaks, not when something merely connects, and goes on when gdb detaches. `k`,
// vKill and a lost connection never end the guest: `k` lets it go on like a detach, a lost connection leaves it as it
// is, without gdb's breakpoints. `monitor quit` ends it.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <tuple>

#include "debug/debugger.h"
#include "debug/gdb_layout.h"
#include "debug/gdb_packets.h"
#include "debug/inspector.h"
#include "debug/monitor.h"

namespace lodge::debug {

class GdbServer final : private Listener {
  public:
    using Send = std::function<void(std::string_view bytes)>;

    // Sends by `send`; that and `debugger` outlive it.
    GdbServer(Debugger& debugger, GdbArchitecture architecture, Send send);
    ~GdbServer() override;

    // What `monitor` understands: the board's topics are added to it.
    Monitor& monitor() { return monitor_; }

    void receive(std::span<const u8> bytes);
    // A new connection, or none any more.
    void reset();

  private:
    // --- Listener
    void on_stopped(const Stop& stop) override;
    void on_ended(const RunResult& result) override;

    void take(const GdbEvent& event);
    void answer(std::string_view packet);
    std::string reply_to(std::string_view packet);
    std::string reply_to_query(std::string_view packet);
    std::string reply_to_setting(std::string_view packet);
    std::string reply_to_long(std::string_view packet);
    void send(std::string_view payload);
    void print(std::string_view text);

    void attach();
    void detach();
    // True: no reply now, a stop or the end answers.
    bool resume(std::string_view action, std::string_view rest);
    std::string continue_or_step(std::string_view packet);
    std::string continue_by_action(std::string_view actions);

    std::string stop_reply(const Stop& stop) const;
    std::string register_digits(size_t number) const;
    bool set_register(size_t number, std::string_view digits);
    std::string read_all_registers() const;
    std::string write_all_registers(std::string_view digits);
    std::string read_one_register(std::string_view packet) const;
    std::string write_one_register(std::string_view packet);

    std::string read_memory(std::string_view packet, bool binary);
    std::string write_memory(std::string_view packet, bool binary);
    size_t read(u64 address, std::span<u8> into);
    bool write(u64 address, std::string_view from);

    std::string change_point(std::string_view packet);
    std::optional<Place> place_of(u64 type, u64 address, u64 size) const;
    std::function<bool()> condition_of(std::string_view text);

    std::string transfer(std::string_view packet);
    std::string run_monitor(std::string_view digits);
    void add_own_commands();

    Debugger& debugger_;
    Inspector inspector_;
    Monitor monitor_;
    Send send_;
    GdbLayout layout_;
    std::optional<GdbArchitecture> next_layout_;
    GdbPacketReader reader_;

    bool attached_ = false;
    bool no_ack_ = false, ending_acks_ = false;
    bool awaits_stop_ = false;     // gdb has let it run and expects a stop reply
    bool awaits_monitor_ = false;  // a monitor command has let it run: its end is told at the stop
    bool no_reply_ = false;        // to the packet being answered
    bool physical_ = false;        // addresses of memory packets
    std::string last_sent_;        // framed
    std::map<std::tuple<u64, u64, u64>, u32> gdb_points_;  // type, address, size
};

}  // namespace lodge::debug
