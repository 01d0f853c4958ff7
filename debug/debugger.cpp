#include "debug/debugger.h"

#include <algorithm>

#include "core/decode/decoder.h"
#include "debug/inspector.h"
#include "debug/text.h"

namespace lodge::debug {

namespace {

// Ranges of bytes, not empty, that may end at the last address.
bool overlap(u64 first, u64 size, u64 other_first, u64 other_size) {
    return other_first - first < size || first - other_first < other_size;
}

Result<void> check(const Place& place) {
    if (const auto* data = std::get_if<DataPoint>(&place)) {
        if (data->size == 0) return Error{ErrorKind::usage, "a watchpoint of no bytes"};
        if (data->linear + (data->size - 1) < data->linear)
            return Error{ErrorKind::usage, "a watchpoint beyond the last address"};
        if (!data->on_read && !data->on_write)
            return Error{ErrorKind::usage, "a watchpoint for neither kind of access"};
    }
    if (const auto* device = std::get_if<DevicePoint>(&place))
        if (device->last < device->first) return Error{ErrorKind::usage, "a range that ends before it begins"};
    return {};
}

bool wants(const std::optional<u8>& vector, u8 delivered) {
    return !vector || *vector == delivered;
}

}  // namespace

Debugger::Debugger(Machine& machine) : machine_(machine), cpu_(machine.cpu()) {
    cpu_.set_debugger(this);
    machine_.set_run_control(this);
    mode_ = static_cast<u32>(mode_of(cpu_));
    stop_.position = cpu_.state.retired;
    stop_.text = "paused from the start";
}

Debugger::~Debugger() {
    observe(false, false);
    machine_.set_run_control(nullptr);
    cpu_.set_debugger(nullptr);
}

// Nobody looks on who has nothing to look for.
void Debugger::observe(bool cpu, bool buses) {
    if (cpu != observes_cpu_) cpu ? cpu_.add_observer(*this) : cpu_.remove_observer(*this);
    if (buses != observes_buses_)
        for (Bus* bus : {&machine_.ports(), &machine_.mmio()})
            buses ? bus->add_observer(*this) : bus->remove_observer(*this);
    observes_cpu_ = cpu;
    observes_buses_ = buses;
}

// --- Stop points

Result<u32> Debugger::add(StopPoint point) {
    LODGE_TRY(check(point.place));
    if (points_.size() == kMostPoints) return Error{ErrorKind::usage, "too many stop points"};
    const u32 number = next_number_++;
    points_.emplace(number, std::move(point));
    if (running()) apply_points();
    return number;
}

bool Debugger::remove(u32 number) {
    if (points_.erase(number) == 0) return false;
    if (running()) apply_points();
    return true;
}

void Debugger::remove_all_of(const void* owner) {
    std::erase_if(points_, [&](const auto& entry) { return entry.second.owner == owner; });
    if (running()) apply_points();
}

StopPoint* Debugger::find(u32 number) {
    const auto found = points_.find(number);
    return found == points_.end() ? nullptr : &found->second;
}

// What the points ask of the CPU. Marks that somebody takes away while the machine stands, and puts back before it goes
// on, cost nothing: code and TLB stay.
void Debugger::apply_points() {
    code_points_.clear();
    data_points_.clear();
    CodeMarks marks;
    std::vector<DataPoint> watched;
    bool of_devices = step_ && step_->until == StepUntil::device_access;
    bool of_cpu = step_.has_value();
    for (const auto& [number, point] : points_) {
        const bool of_bus = std::holds_alternative<DevicePoint>(point.place);
        of_devices |= of_bus;
        of_cpu |= !of_bus && !std::holds_alternative<DataPoint>(point.place);
        if (const auto* code = std::get_if<CodePoint>(&point.place)) {
            code_points_.emplace(code->linear, number);
            marks.set(code->linear & kPageMask);
        }
        if (const auto* data = std::get_if<DataPoint>(&point.place)) {
            data_points_.emplace_back(number, *data);
            watched.push_back(*data);
        }
    }
    observe(of_cpu, of_devices);
    if (marks != marks_) {
        marks_ = marks;
        cpu_.mark_code(marks);
    }
    const bool same =
        std::equal(watched.begin(), watched.end(), watched_.begin(), watched_.end(),
                   [](const DataPoint& a, const DataPoint& b) { return a.linear == b.linear && a.size == b.size; });
    watched_ = std::move(watched);
    if (!same) cpu_.watch_data(!watched_.empty());
}

// --- Running

void Debugger::pause() {
    if (!running()) return;
    if (!judge_hits()) {
        pending_.emplace();
        pending_->text = "paused";
    }
    stop_now();
}

void Debugger::resume() {
    if (running()) return;
    go_on();
}

Result<void> Debugger::step(const Step& step) {
    if (running()) return Error{ErrorKind::usage, "the machine is running"};
    if (step.count == 0) return Error{ErrorKind::usage, "a step of no instructions"};
    step_ = step;
    steps_done_ = 0;
    returned_ = false;
    const bool by_count = step.until == StepUntil::instructions && step.faults == StepFaults::taken;
    const bool by_event = step.until == StepUntil::interrupt || step.until == StepUntil::device_access ||
                          step.until == StepUntil::mode_switch;
    if (step.hold_interrupts && !cpu_.state.halted && step.until != StepUntil::interrupt) cpu_.hold_interrupts(true);
    if (by_count)
        stop_position_ = step.count > kNever - cpu_.state.retired ? kNever : cpu_.state.retired + step.count;
    else if (!by_event)
        follow();
    go_on();
    return {};
}

void Debugger::go_on() {
    apply_points();
    // What is here has been seen.
    if (code_points_.contains(cpu_.linear_ip()))
        passed_ = Passed{cpu_.linear_ip(), cpu_.state.gpr[kRsp], cpu_.state.retired, true};
    mode_ = static_cast<u32>(mode_of(cpu_));
    hits_.clear();
    machine_.set_paused(false);
    for (Listener* listener : std::vector<Listener*>(listeners_)) listener->on_resumed();
}

void Debugger::stop_now() {
    step_.reset();
    following_ = Following::no;
    stop_position_ = kNever;
    hits_.clear();
    cpu_.clear_attention(kAttentionDebugger);
    cpu_.hold_interrupts(false);
    machine_.set_paused(true);
    stop_ = std::move(*pending_);
    pending_.reset();
    stop_.position = cpu_.state.retired;
    for (const u32 number : stop_.points)
        if (const StopPoint* point = find(number); point && point->once) points_.erase(number);
    for (Listener* listener : std::vector<Listener*>(listeners_)) listener->on_stopped(stop_);
}

void Debugger::on_stop_position() {
    judge_hits();
    if (!pending_ && step_ && cpu_.state.retired >= stop_position_) end_step("stepped");
    if (pending_) stop_now();
}

Result<void> Debugger::set_speed(u64 millipercent) {
    if (machine_.clock().mode() == ClockMode::virtual_time)
        return Error{ErrorKind::unsupported, "the virtual clock has no real speed"};
    if (millipercent < kSlowest || millipercent > kFullSpeed)
        return Error{ErrorKind::usage, "a speed is 0.1 to 100 percent"};
    machine_.set_speed(millipercent);
    return {};
}

bool Debugger::holds_shutdown() {
    if (shutdown_seen_ == cpu_.state.retired) return false;
    for (auto& [number, point] : points_)
        if (std::holds_alternative<ShutdownPoint>(point.place)) hits_.push_back({number, {}});
    judge_hits();
    if (!pending_) return false;
    shutdown_seen_ = cpu_.state.retired;
    stop_now();
    return true;
}

void Debugger::on_end(const RunResult& result) {
    for (Listener* listener : std::vector<Listener*>(listeners_)) listener->on_ended(result);
}

// --- What is met

void Debugger::note(u32 number, const StopDetails& details) {
    hits_.push_back({number, details});
    cpu_.request_attention(kAttentionDebugger);
    cpu_.stop = true;
}

template <class Kind, class Matches>
void Debugger::note_all(const StopDetails& details, Matches matches) {
    for (const auto& [number, point] : points_)
        if (const Kind* kind = std::get_if<Kind>(&point.place); kind && point.enabled && matches(*kind))
            note(number, details);
}

// Whether the machine is to stop for it, now that it stands between two instructions.
bool Debugger::judge(const Hit& hit) {
    StopPoint* point = find(hit.point);
    if (!point || !point->enabled) return false;
    if (point->condition && !point->condition()) return false;
    ++point->hits;
    if (point->ignore > 0) {
        --point->ignore;
        return false;
    }
    if (!pending_) {
        pending_.emplace();
        pending_->reason = StopReason::point;
        pending_->place = point->place;
        pending_->details = hit.details;
        pending_->text = text_of(*pending_);
    }
    pending_->points.push_back(hit.point);
    return true;
}

bool Debugger::judge_hits() {
    std::vector<Hit> hits;
    hits.swap(hits_);
    std::set<u32> judged;
    for (const Hit& hit : hits)
        if (judged.insert(hit.point).second) judge(hit);
    return pending_.has_value();
}

bool Debugger::stops_before(u64 linear) {
    const auto [begin, end] = code_points_.equal_range(linear);
    if (begin == end) return false;
    const u64 retired = cpu_.state.retired, stack_pointer = cpu_.state.gpr[kRsp];
    if (passed_ && passed_->linear == linear && passed_->stack_pointer == stack_pointer &&
        (passed_->armed || passed_->retired == retired)) {
        passed_->armed = false;
        passed_->retired = retired;
        return false;
    }
    // Where there is no code yet the fetch faults, and the instruction comes again.
    if (!walk(cpu_, machine_.memory(), linear).mapped) return false;
    passed_ = Passed{linear, stack_pointer, retired, false};
    bool stops = false;
    for (auto at = begin; at != end; ++at) stops |= judge({at->second, {}});
    return stops;
}

bool Debugger::watches_page(u64 linear) const {
    const u64 page = linear & ~kPageMask;
    return std::any_of(watched_.begin(), watched_.end(),
                       [&](const DataPoint& point) { return overlap(page, kPageSize, point.linear, point.size); });
}

void Debugger::on_data_access(u64 linear, unsigned size, bool write) {
    for (const auto& [number, point] : data_points_) {
        if (!(write ? point.on_write : point.on_read) || !overlap(linear, size, point.linear, point.size)) continue;
        StopDetails details;
        details.access = BusAccess{linear, size, write, 0};
        note(number, details);
    }
}

void Debugger::on_access(const Bus& bus, const BusAccess& access) {
    StopDetails details;
    details.access = access;
    details.space = &bus == &machine_.ports() ? DeviceSpace::ports : DeviceSpace::memory;
    note_all<DevicePoint>(details, [&](const DevicePoint& point) {
        return point.space == details.space && (access.write ? point.on_write : point.on_read) &&
               overlap(access.address, access.size, point.first, point.last - point.first + 1);
    });
    if (step_ && step_->until == StepUntil::device_access && !pending_)
        end_step("access of " + describe_access(machine_, details.space, access));
}

void Debugger::on_interrupt(const InterruptEvent& event) {
    if (passed_ && passed_->linear == event.return_linear && passed_->retired == cpu_.state.retired)
        passed_->armed = true;
    StopDetails details;
    details.vector = event.vector;
    details.error = event.error;
    details.return_linear = event.return_linear;
    const auto matches = [&](const auto& point) { return wants(point.vector, event.vector); };
    const bool exception = event.kind == EventKind::exception || event.kind == EventKind::icebp;
    if (event.kind == EventKind::hardware)
        note_all<InterruptPoint>(details, matches);
    else if (exception)
        note_all<ExceptionPoint>(details, matches);
    else
        note_all<SoftwareInterruptPoint>(details, matches);
    if (!step_ || pending_) return;
    if (step_->until == StepUntil::interrupt && event.kind == EventKind::hardware)
        return end_step("interrupt " + hex(event.vector));
    if (following_ != Following::each) return;
    if (exception && step_->faults == StepFaults::stop) return end_step(describe_exception(details), StopReason::fault);
    const bool asked_for = event.kind == EventKind::software;
    if (asked_for || step_->faults != StepFaults::passed) return;
    // The handler may sleep: it needs its interrupts.
    following_ = Following::handler;
    cpu_.hold_interrupts(false);
    cpu_.clear_attention(kAttentionDebugger);
    if (!hits_.empty()) cpu_.request_attention(kAttentionDebugger);
}

void Debugger::on_interrupt_return() {
    if (following_ != Following::handler) return;
    const Context now = context();
    if (now.stack_pointer != before_.stack_pointer || now.code_selector != before_.code_selector ||
        now.page_table != before_.page_table)
        return;
    returned_ = true;
    cpu_.request_attention(kAttentionDebugger);
    cpu_.stop = true;
}

void Debugger::on_mode_change() {
    const auto mode = static_cast<u32>(mode_of(cpu_));
    if (mode == mode_) return;
    mode_ = mode;
    note_all<ModePoint>({}, [](const ModePoint&) { return true; });
    if (step_ && step_->until == StepUntil::mode_switch && !pending_)
        end_step("mode is now " + std::string(name_of(mode_of(cpu_))));
}

void Debugger::on_page_table_change() {
    note_all<PageTablePoint>(
        {}, [&](const PageTablePoint& point) { return !point.value || *point.value == cpu_.state.cr3; });
}

// --- Steps that follow each instruction

Debugger::Context Debugger::context() const {
    const CpuState& state = cpu_.state;
    Context context;
    context.retired = state.retired;
    context.linear = context.next_linear = cpu_.linear_ip();
    context.stack_pointer = state.gpr[kRsp];
    context.page_table = state.cr3 & ~kPageMask;  // a system may give the same tables another PCID
    context.code_selector = state.segment(Segment::cs).selector;
    return context;
}

void Debugger::follow() {
    following_ = Following::each;
    before_ = context();
    if (step_->until == StepUntil::branch) {
        u8 bytes[kLongestInsn];
        Inspector inspector(machine_);
        const size_t have = inspector.read_linear(before_.linear, bytes);
        Insn insn;
        if (decode({bytes, have}, cpu_.code_size(), insn) == DecodeStatus::ok)
            before_.next_linear = (before_.linear + insn.length) & cpu_.state.linear_mask;
    }
    cpu_.request_attention(kAttentionDebugger);
}

bool Debugger::step_has_ended() {
    const u64 linear = cpu_.linear_ip();
    switch (step_->until) {
        case StepUntil::instructions:
            return ++steps_done_ >= step_->count;
        case StepUntil::out_of_range:
            return linear - step_->first >= step_->last - step_->first;
        case StepUntil::branch:
            return linear != before_.next_linear;
        default:
            return false;
    }
}

// At a boundary: whether the step has ended here.
bool Debugger::follow_on() {
    if (following_ == Following::handler) {
        if (!std::exchange(returned_, false)) return false;
        following_ = Following::each;
        if (step_->hold_interrupts) cpu_.hold_interrupts(true);
        // The instruction is executed again; unless the handler has put things right otherwise.
        if (cpu_.linear_ip() == before_.linear) {
            follow();
            return false;
        }
    } else if (cpu_.state.retired == before_.retired) {
        const bool led_elsewhere = cpu_.linear_ip() != before_.linear;
        if (step_->until != StepUntil::branch || !led_elsewhere) return false;
    }
    if (step_has_ended()) return true;
    follow();
    return false;
}

bool Debugger::stops_at_boundary() {
    if (!pending_) judge_hits();
    if (!pending_ && following_ != Following::no && follow_on()) end_step("stepped");
    if (pending_) return true;
    if (following_ != Following::each) cpu_.clear_attention(kAttentionDebugger);
    return false;
}

void Debugger::end_step(std::string text, StopReason reason) {
    Stop stop;
    stop.reason = reason;
    stop.text = std::move(text);
    pending_ = std::move(stop);
    cpu_.request_attention(kAttentionDebugger);
    cpu_.stop = true;
}

std::string Debugger::text_of(const Stop& stop) const {
    if (std::holds_alternative<CodePoint>(*stop.place)) return "breakpoint at " + hex(cpu_.linear_ip());
    if (std::holds_alternative<DataPoint>(*stop.place)) {
        const BusAccess& access = *stop.details.access;
        return std::string(access.write ? "write of " : "read of ") + std::to_string(access.size) + " bytes at " +
               hex(access.address);
    }
    if (std::holds_alternative<DevicePoint>(*stop.place))
        return "access of " + describe_access(machine_, stop.details.space, *stop.details.access);
    if (std::holds_alternative<InterruptPoint>(*stop.place)) return "interrupt " + hex(*stop.details.vector);
    if (std::holds_alternative<ExceptionPoint>(*stop.place)) return describe_exception(stop.details);
    if (std::holds_alternative<SoftwareInterruptPoint>(*stop.place)) return "INT " + hex(*stop.details.vector);
    if (std::holds_alternative<ModePoint>(*stop.place)) return "mode is now " + std::string(name_of(mode_of(cpu_)));
    if (std::holds_alternative<PageTablePoint>(*stop.place)) return "CR3 loaded with " + hex(cpu_.state.cr3);
    return "triple fault";
}

}  // namespace lodge::debug
