#include "frontend/pc_machine.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/interp/interpreter.h"
#include "devices/linux_loader.h"
#include "disks/open_image.h"
#include "frontend/net_options.h"
#include "jit/translator.h"
#include "roms/firmware.h"

namespace lodge {

namespace {

Error usage(std::string context) {
    return {ErrorKind::usage, std::move(context)};
}

Result<u64> guest_memory(const RunConfig& config) {
    const auto mib = parse_number("--memory", config.memory, 1, 262144);
    if (!mib) return mib.error();
    if (*mib != static_cast<double>(static_cast<u64>(*mib)))
        return usage("--memory " + config.memory + ": whole MiB only");
    const u64 host = static_cast<u64>(sysconf(_SC_PHYS_PAGES)) * static_cast<u64>(sysconf(_SC_PAGESIZE));
    const u64 bytes = static_cast<u64>(*mib) * kMiB;
    if (bytes > host)
        return usage("--memory " + config.memory + ": this host has " + std::to_string(host / kMiB) + " MiB");
    return bytes;
}

Result<const CpuModel*> cpu_model(const RunConfig& config) {
    if (config.cpu.empty()) return &cpu_models().back();
    if (const CpuModel* model = find_cpu_model(config.cpu)) return model;
    return usage("--cpu " + config.cpu + ": no such model; 'lodge run --cpu help' lists them");
}

Result<void> check_choices(const RunConfig& config) {
    if (config.engine != "jit" && config.engine != "interpreter")
        return usage("--engine " + config.engine + ": not one of jit, interpreter");
    if (config.clock != "realtime" && config.clock != "virtual")
        return usage("--clock " + config.clock + ": not one of realtime, virtual");
    if (!config.display.empty() && config.display != "none")
        return usage("--display " + config.display + ": this version has no window; use --display none");
    if (config.kernel.empty() && (!config.initrd.empty() || !config.append.empty()))
        return usage("--initrd and --append need --kernel");
    if (config.clock == "virtual" && !config.speed.empty())
        return usage("--speed " + config.speed + ": the virtual clock has no real speed; use --clock realtime");
    return {};
}

Result<std::unique_ptr<Executor>> make_engine(const RunConfig& config, Cpu& cpu) {
    if (config.engine == "interpreter") return std::unique_ptr<Executor>(std::make_unique<Interpreter>(cpu));
    jit::Translator::Options options;
    options.listing = config.list_code;
    options.perf_map = config.perf_map;
    options.jit_dump = config.jit_dump;
    if (config.hot_at_once) {
        options.samples = 0;
        options.often = 200;
    }
    auto translator = jit::Translator::create(cpu, options);
    if (!translator) return translator.error();
    return std::unique_ptr<Executor>(std::move(*translator));
}

Result<std::vector<BootSource>> boot_order(const RunConfig& config) {
    const std::vector<std::pair<std::string, BootSource>> sources = {{"disk", BootSource::disk},
                                                                     {"cdrom", BootSource::cdrom},
                                                                     {"floppy", BootSource::floppy},
                                                                     {"network", BootSource::network}};
    const std::string first = first_boot_source(config);
    std::vector<BootSource> order;
    bool known = first.empty();
    for (const auto& [name, source] : sources)
        if (name == first) {
            order.push_back(source);
            known = true;
        }
    if (!known) return usage("--boot " + first + ": not one of disk, cdrom, floppy, network");
    for (const auto& [name, source] : sources)
        if (name != first) order.push_back(source);
    return order;
}

Result<std::vector<u8>> read_file(const std::string& option, const std::string& path) {
    const auto failed = [&](const char* why) { return usage(option + " " + path + ": " + why); };
    std::error_code error;
    if (std::filesystem::is_directory(path, error)) return failed("is a folder");
    std::ifstream file(path, std::ios::binary);
    if (!file) return failed(std::strerror(errno));
    std::vector<u8> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    if (file.bad()) return failed("cannot be read");
    return bytes;
}

ImageMode image_mode(const std::string& mode) {
    if (mode == "shared") return ImageMode::shared;
    return mode == "readonly" ? ImageMode::read_only : ImageMode::private_writes;
}

Result<void> open_floppies(const RunConfig& config, PcConfig& board) {
    for (const std::string& text : config.floppies) {
        const auto option = parse_removable_option("--floppy", text, FloppyController::kDrives - 1, true);
        if (!option) return option.error();
        const unsigned unit = option->unit.value_or(board.floppies[0] ? 1 : 0);
        if (board.floppies[unit])
            return usage("--floppy " + text + ": drive " + (unit == 0 ? "A:" : "B:") + " is there already");
        RemovableDrive& drive = board.floppies[unit].emplace();
        if (option->file.empty()) continue;
        OpenOptions open;
        open.mode = image_mode(option->mode);
        auto medium = open_image(option->file, open);
        if (!medium) return medium.error();
        if (!floppy_format((*medium)->size()))
            return Error{ErrorKind::bad_format, option->file + ": a diskette has " + floppy_sizes() + ", not " +
                                                    std::to_string((*medium)->size()) + " bytes"};
        drive.medium = std::move(*medium);
    }
    return {};
}

// Where nobody asks otherwise a CD-ROM drive on IDE is the secondary channel's master, as on most PCs; on SCSI it takes
// the last free address before the adapter's.
std::optional<unsigned> free_cdrom_unit(const PcConfig& board, bool scsi) {
    if (scsi) {
        for (unsigned unit = kScsiAdapterId; unit-- > 0;)
            if (!board.scsi_disks[unit] && !board.scsi_cdroms[unit]) return unit;
        return {};
    }
    for (const unsigned unit : {2u, 3u, 1u, 0u})
        if (!board.disks[unit] && !board.cdroms[unit]) return unit;
    return {};
}

// A disc is read-only, and whatever an ISO image looks like otherwise, it is raw.
Result<void> open_cdroms(const RunConfig& config, PcConfig& board) {
    for (const std::string& text : config.cdroms) {
        const auto option = parse_removable_option("--cdrom", text, Ide::kDrives - 1, false);
        if (!option) return option.error();
        const bool scsi = option->bus == "scsi";
        const std::string bus = scsi ? "SCSI" : "IDE";
        const std::optional<unsigned> unit = option->unit ? option->unit : free_cdrom_unit(board, scsi);
        if (!unit) return usage("--cdrom " + text + ": all " + (scsi ? "" : "four ") + bus + " units are taken");
        const bool taken =
            scsi ? board.scsi_disks[*unit] || board.scsi_cdroms[*unit] : board.disks[*unit] || board.cdroms[*unit];
        if (taken) return usage("--cdrom " + text + ": " + bus + " unit " + std::to_string(*unit) + " is taken");
        RemovableDrive& drive = (scsi ? board.scsi_cdroms[*unit] : board.cdroms[*unit]).emplace();
        if (option->file.empty()) continue;
        OpenOptions open;
        open.raw = true;
        auto medium = open_image(option->file, open);
        if (!medium) return medium.error();
        drive.medium = std::move(*medium);
    }
    return {};
}

Error no_place(const std::string& text, const std::string& bus, unsigned unit, bool any) {
    if (any) return usage("--disk " + text + ": all " + bus + " units are taken");
    return usage("--disk " + text + ": " + bus + " unit " + std::to_string(unit) + " is taken");
}

// The slot that a disk option names, or the first free one. `reserved`: no disk's.
Result<std::unique_ptr<BlockDevice>*> disk_place(const std::string& text, const DiskOption& option,
                                                 std::span<std::unique_ptr<BlockDevice>> places, unsigned reserved) {
    const std::string bus = option.bus == "ide" ? "IDE" : "SCSI";
    unsigned unit = option.unit.value_or(0);
    while (!option.unit && unit < places.size() && (places[unit] || unit == reserved)) ++unit;
    if (unit >= places.size() || places[unit]) return no_place(text, bus, unit, !option.unit);
    return &places[unit];
}

Result<void> open_disks(const RunConfig& config, PcConfig& board, Log& log) {
    for (const std::string& text : config.disks) {
        const auto option = parse_disk_option(text);
        if (!option) return option.error();
        const std::span<std::unique_ptr<BlockDevice>> ide = board.disks, scsi = board.scsi_disks;
        auto place = disk_place(text, *option, option->bus == "ide" ? ide : scsi,
                                option->bus == "ide" ? Ide::kDrives : kScsiAdapterId);
        if (!place) return place.error();
        OpenOptions open;
        open.raw = option->raw;
        open.mode = image_mode(option->mode);
        open.warn = [&log](const std::string& line) {
            log.write(LogChannel::disks, LogLevel::warning, "%s", line.c_str());
        };
        auto disk = open_image(option->file, open);
        if (!disk) return disk.error();
        **place = std::move(*disk);
    }
    return {};
}

}  // namespace

Result<std::unique_ptr<PcMachine>> PcMachine::create(const RunConfig& config, Log& log) {
    LODGE_TRY(check_choices(config));
    const auto memory = guest_memory(config);
    if (!memory) return memory.error();
    const auto model = cpu_model(config);
    if (!model) return model.error();
    auto layout = PcLayout::make(*memory);
    if (!layout) return layout.error();
    auto order = boot_order(config);
    if (!order) return order.error();

    PcConfig board;
    board.layout = *layout;
    board.boot = std::move(*order);
    LODGE_TRY(open_disks(config, board, log));
    LODGE_TRY(open_floppies(config, board));
    LODGE_TRY(open_cdroms(config, board));
    std::optional<std::filesystem::path> folder;
    if (!config.firmware_dir.empty()) folder = config.firmware_dir;
    if (config.kernel.empty()) {
        auto firmware = find_firmware(folder);
        if (!firmware) return firmware.error();
        board.bios = std::move(firmware->bios);
        board.vga_bios = std::move(firmware->vga_bios);
    }

    std::unique_ptr<PcMachine> made(new PcMachine);
    const std::string serial = config.serial.empty() ? "stdio" : config.serial;
    made->serial_on_stdio_ = serial == "stdio";
    auto serial_port = open_host_port("--serial", serial);
    if (!serial_port) return serial_port.error();
    made->serial_ = std::move(*serial_port);
    auto debug_port = open_host_port("--debugcon", config.debugcon.empty() ? "null" : config.debugcon);
    if (!debug_port) return debug_port.error();
    made->debug_ = std::move(*debug_port);
    board.serial[0] = made->serial_.get();
    board.debug = made->debug_.get();

    LODGE_TRY(made->open_networks(config, board, log));
    MachineConfig core;
    core.backing_bytes = layout->backing_bytes();
    core.clock = config.clock == "virtual" ? ClockMode::virtual_time : ClockMode::realtime;
    core.cpu = *model;
    core.reboot = !config.no_reboot;
    auto machine = Machine::create(core, log);
    if (!machine) return machine.error();
    made->machine_ = std::move(*machine);
    Machine& parts = *made->machine_;
    const Platform platform{log,   parts.memory(), parts.ports(), parts.mmio(), parts.scheduler(), parts.inputs(),
                            parts, parts.cpu()};
    made->pc_ = std::make_unique<Pc>(platform, std::move(board));
    parts.cpu().connect(made->pc_->interrupt_controller(), &made->pc_->apic_registers());
    for (Device* device : made->pc_->devices()) parts.add_device(*device);
    auto engine = make_engine(config, parts.cpu());
    if (!engine) return engine.error();
    parts.set_executor(std::move(*engine));
    parts.reset();
    if (const Uart* port = made->pc_->serial(0))
        made->serial_feed_ = std::make_unique<SerialFeed>(parts.inputs(), *port);
    if (made->serial_ && !made->serial_on_stdio_) made->serial_->connect(made->serial_feed_.get());
    made->connect_networks();
    if (!config.kernel.empty()) LODGE_TRY(made->boot_directly(config));
    if (!config.gdb.empty()) {
        auto gdb = GdbPort::open(config.gdb, made->debugger(), *made->pc_);
        if (!gdb) return gdb.error();
        made->gdb_ = std::move(*gdb);
    }
    return made;
}

debug::Debugger& PcMachine::debugger() {
    if (!debugger_) debugger_ = std::make_unique<debug::Debugger>(*machine_);
    return *debugger_;
}

// The host's ports must not speak to a machine that is going away.
PcMachine::~PcMachine() {
    if (serial_) serial_->connect(nullptr);
    for (const auto& network : networks_)
        if (network) network->disconnect();
}

// The cards' expansion ROM is for a machine that may come to boot from them: what does not needs none of it.
Result<void> PcMachine::open_networks(const RunConfig& config, PcConfig& board, Log& log) {
    auto cards = plan_network_cards(config);
    if (!cards) return cards.error();
    const bool from_network = first_boot_source(config) == "network";
    if (from_network && cards->empty()) return usage("--boot network: the machine has no network card");
    const bool last_resort =
        config.kernel.empty() && config.disks.empty() && config.cdroms.empty() && config.floppies.empty();
    if (!cards->empty() && (from_network || last_resort)) {
        auto rom = find_network_rom(config.firmware_dir);
        if (!rom && from_network) return rom.error();
        if (rom) board.network_rom = std::move(*rom);
    }
    const ClockMode clock = config.clock == "virtual" ? ClockMode::virtual_time : ClockMode::realtime;
    for (const PlannedCard& card : *cards) {
        auto network = open_network(card, clock, log);
        if (!network) return network.error();
        networks_.push_back(std::move(*network));
    }
    if (!config.capture.empty()) {
        auto file = CaptureFile::create(config.capture);
        if (!file) return file.error();
        capture_ = std::move(*file);
    }
    for (size_t i = 0; i < cards->size(); ++i) {
        NetworkPort* port = networks_[i].get();
        if (port && capture_) port = captured_.emplace_back(std::make_unique<CapturedPort>(port, *capture_)).get();
        board.network_cards.push_back({(*cards)[i].address, port});
    }
    return {};
}

void PcMachine::connect_networks() {
    for (const auto& port : captured_) port->set_clock(machine_->clock());
    for (size_t i = 0; i < networks_.size(); ++i)
        if (networks_[i])
            networks_[i]->connect(machine_->inputs(), pc_->network_card(i).input_source(), machine_->scheduler());
}

void PcMachine::abandon_ports() {
    for (HostPort* port : {serial_.get(), debug_.get()})
        if (port) port->abandon();
}

Result<void> PcMachine::boot_directly(const RunConfig& config) {
    auto kernel = read_file("--kernel", config.kernel);
    if (!kernel) return kernel.error();
    kernel_ = std::move(*kernel);
    if (!config.initrd.empty()) {
        auto initrd = read_file("--initrd", config.initrd);
        if (!initrd) return initrd.error();
        initrd_ = std::move(*initrd);
    }
    command_line_ = config.append;
    if (auto loaded = place_kernel(); !loaded)
        return Error{loaded.error().kind, "--kernel " + config.kernel + ": " + loaded.error().context};
    // What has fitted once fits again.
    machine_->after_reset([this] { static_cast<void>(place_kernel()); });
    return {};
}

Result<void> PcMachine::place_kernel() {
    const auto entry = load_linux(*pc_, {kernel_, initrd_, command_line_, false});
    if (!entry) return entry.error();
    Cpu& cpu = machine_->cpu();
    cpu.state.gdtr.base = entry->gdt_base;
    cpu.state.gdtr.limit = entry->gdt_limit;
    cpu.enter_flat_protected(entry->code_selector, entry->data_selector);
    cpu.state.gpr[kRsi] = entry->esi;
    cpu.state.ip = entry->eip;
    return {};
}

}  // namespace lodge
