#include "debug/gdb_layout.h"

#include "debug/text.h"

namespace lodge::debug {

namespace {

struct Flag {
    const char* name;
    unsigned bit;
};

std::string flags_type(const char* id, unsigned bytes, std::span<const Flag> flags) {
    std::string text = format("<flags id=\"%s\" size=\"%u\">", id, bytes);
    for (const Flag& flag : flags)
        text += format("<field name=\"%s\" start=\"%u\" end=\"%u\"/>", flag.name, flag.bit, flag.bit);
    return text + "</flags>\n";
}

constexpr Flag kEflags[] = {{"CF", 0},  {"", 1},    {"PF", 2},   {"AF", 4},   {"ZF", 6},  {"SF", 7},
                            {"TF", 8},  {"IF", 9},  {"DF", 10},  {"OF", 11},  {"NT", 14}, {"RF", 16},
                            {"VM", 17}, {"AC", 18}, {"VIF", 19}, {"VIP", 20}, {"ID", 21}};
constexpr Flag kMxcsr[] = {{"IE", 0}, {"DE", 1}, {"ZE", 2}, {"OE", 3},  {"UE", 4},  {"PE", 5},  {"DAZ", 6},
                           {"IM", 7}, {"DM", 8}, {"ZM", 9}, {"OM", 10}, {"UM", 11}, {"PM", 12}, {"FZ", 15}};
constexpr Flag kCr0[] = {{"PE", 0},  {"MP", 1},  {"EM", 2},  {"TS", 3},  {"ET", 4}, {"NE", 5},
                         {"WP", 16}, {"AM", 18}, {"NW", 29}, {"CD", 30}, {"PG", 31}};
constexpr Flag kCr4[] = {{"VME", 0},         {"PVI", 1},   {"TSD", 2},       {"DE", 3},     {"PSE", 4},
                         {"PAE", 5},         {"MCE", 6},   {"PGE", 7},       {"PCE", 8},    {"OSFXSR", 9},
                         {"OSXMMEXCPT", 10}, {"UMIP", 11}, {"FSGSBASE", 16}, {"PCIDE", 17}, {"OSXSAVE", 18},
                         {"SMEP", 20},       {"SMAP", 21}};
constexpr Flag kEfer[] = {{"SCE", 0}, {"LME", 8}, {"LMA", 10}, {"NXE", 11}};

constexpr const char* kVectorTypes =
    "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
    "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
    "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>"
    "<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
    "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
    "<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
    "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>"
    "<field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" type=\"v8i16\"/>"
    "<field name=\"v4_int32\" type=\"v4i32\"/><field name=\"v2_int64\" type=\"v2i64\"/>"
    "<field name=\"uint128\" type=\"uint128\"/></union>\n";

std::string mode_type() {
    std::string text = "<enum id=\"cpu_mode\" size=\"4\">";
    for (unsigned i = 0; i <= static_cast<unsigned>(CpuMode::long64); ++i) {
        std::string name(name_of(static_cast<CpuMode>(i)));
        for (char& c : name)
            if (c == '-') c = '_';
        text += format("<evalue name=\"%s\" value=\"%u\"/>", name.c_str(), i);
    }
    return text + "</enum>\n";
}

}  // namespace

GdbLayout::GdbLayout(GdbArchitecture architecture) : architecture_(architecture) {
    const bool wide = architecture == GdbArchitecture::x86_64;
    target_xml_ = "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target version=\"1.0\">\n";
    target_xml_ += std::string("<architecture>") + (wide ? "i386:x86-64" : "i386") + "</architecture>\n";
    add_core();
    add_sse();
    if (wide) add_segments();
    add_system();
    target_xml_ += "</target>\n";
}

void GdbLayout::add(const char* gdb_name, const char* lodge_name, unsigned bits, const char* type, const char* group) {
    registers_.push_back({gdb_name, find_register(lodge_name), bits});
    target_xml_ += format("<reg name=\"%s\" bitsize=\"%u\" type=\"%s\"", gdb_name, bits, type);
    if (*group) target_xml_ += format(" group=\"%s\"", group);
    target_xml_ += "/>\n";
}

void GdbLayout::add_core() {
    static constexpr const char* kWide[] = {"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp",
                                            "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    static constexpr const char* kNarrow[] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
    static constexpr const char* kOfNarrow[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"};
    const bool wide = architecture_ == GdbArchitecture::x86_64;
    target_xml_ += "<feature name=\"org.gnu.gdb.i386.core\">\n" + flags_type("i386_eflags", 4, kEflags);
    const auto type_of = [&](const std::string& name) {
        const bool pointer = name.ends_with("sp") || name.ends_with("bp");
        return pointer ? "data_ptr" : wide ? "int64" : "int32";
    };
    if (wide)
        for (const char* name : kWide) add(name, name, 64, type_of(name));
    else
        for (unsigned i = 0; i < std::size(kNarrow); ++i) add(kNarrow[i], kOfNarrow[i], 32, type_of(kNarrow[i]));
    stack_pointer_ = wide ? 7 : 4;
    program_counter_ = registers_.size();
    add(wide ? "rip" : "eip", "pc", wide ? 64 : 32, "code_ptr");
    add("eflags", "eflags", 32, "i386_eflags");
    for (const char* name : {"cs", "ss", "ds", "es", "fs", "gs"}) add(name, name, 32, "int32");
    for (unsigned i = 0; i < 8; ++i) add(format("st%u", i).c_str(), format("st%u", i).c_str(), 80, "i387_ext");
    for (const char* name : {"fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop"})
        add(name, name, 32, "int", "float");
    target_xml_ += "</feature>\n";
}

void GdbLayout::add_sse() {
    const unsigned count = architecture_ == GdbArchitecture::x86_64 ? 16 : 8;
    target_xml_ += "<feature name=\"org.gnu.gdb.i386.sse\">\n";
    target_xml_ += kVectorTypes + flags_type("i386_mxcsr", 4, kMxcsr);
    for (unsigned i = 0; i < count; ++i) add(format("xmm%u", i).c_str(), format("xmm%u", i).c_str(), 128, "vec128");
    add("mxcsr", "mxcsr", 32, "i386_mxcsr", "vector");
    target_xml_ += "</feature>\n";
}

void GdbLayout::add_segments() {
    target_xml_ += "<feature name=\"org.gnu.gdb.i386.segments\">\n";
    for (const char* name : {"fs_base", "gs_base"}) add(name, name, 64, "int64");
    target_xml_ += "</feature>\n";
}

void GdbLayout::add_system() {
    const bool wide = architecture_ == GdbArchitecture::x86_64;
    target_xml_ += "<feature name=\"io.lodge.system\">\n";
    target_xml_ += flags_type("lodge_cr0", 8, kCr0) + flags_type("lodge_cr4", 8, kCr4) +
                   flags_type("lodge_efer", 8, kEfer) + mode_type();
    add("mode", "mode", 32, "cpu_mode", "system");
    add("ip_offset", "rip", 64, "int64", "system");
    add("cr0", "cr0", 64, "lodge_cr0", "system");
    for (const char* name : {"cr2", "cr3"}) add(name, name, 64, "int64", "system");
    add("cr4", "cr4", 64, "lodge_cr4", "system");
    add("cr8", "cr8", 64, "int64", "system");
    add("efer", "efer", 64, "lodge_efer", "system");
    for (const char* name : {"cs", "ss", "ds", "es", "fs", "gs"}) {
        const std::string segment = name;
        const bool known = wide && (segment == "fs" || segment == "gs");
        if (!known) add((segment + "_base").c_str(), (segment + "_base").c_str(), 64, "int64", "system");
        add((segment + "_limit").c_str(), (segment + "_limit").c_str(), 32, "int32", "system");
        add((segment + "_attributes").c_str(), (segment + "_attributes").c_str(), 32, "int32", "system");
    }
    for (const char* name : {"gdtr", "idtr", "ldtr", "tr"}) {
        const std::string table = name;
        if (table == "ldtr" || table == "tr") add(name, name, 32, "int32", "system");
        add((table + "_base").c_str(), (table + "_base").c_str(), 64, "int64", "system");
        add((table + "_limit").c_str(), (table + "_limit").c_str(), 32, "int32", "system");
    }
    for (const char* name : {"kernel_gs_base", "dr0", "dr1", "dr2", "dr3", "dr6", "dr7"})
        add(name, name, 64, "int64", "system");
    add("cpl", "cpl", 32, "int32", "system");
    add("retired", "retired", 64, "uint64", "system");
    target_xml_ += "</feature>\n";
}

}  // namespace lodge::debug
