#include "disks/check_image.h"

#include <algorithm>

#include "disks/vhd_parent.h"

namespace lodge {

namespace {

class Repair {
  public:
    Repair(File& file, VhdLayout& layout, std::vector<std::string>& done) : file_(file), layout_(layout), done_(done) {}

    // From the blocks outward, so that the footers are only written around blocks that are in order.
    Result<void> run() {
        if (layout_.has(VhdProblemKind::overlap)) return {};  // whatever is written may be somebody else's data
        LODGE_TRY(drop_gone_blocks());
        LODGE_TRY(complete_cut_block());
        LODGE_TRY(write_end_footer());
        LODGE_TRY(write_footer_copy());
        return done_.empty() ? Result<void>{} : file_.sync();
    }

  private:
    Result<void> drop_gone_blocks();
    Result<void> complete_cut_block();
    Result<void> write_end_footer();
    Result<void> write_footer_copy();

    File& file_;
    VhdLayout& layout_;
    std::vector<std::string>& done_;
};

Result<void> Repair::drop_gone_blocks() {
    static constexpr std::array<u8, 4> kUnused = {0xFF, 0xFF, 0xFF, 0xFF};
    u64 dropped = 0;
    for (size_t block = 0; block < layout_.table.size(); ++block) {
        if (layout_.table[block] == kVhdUnusedBlock || u64{layout_.table[block]} * 512 < layout_.file_size) continue;
        LODGE_TRY(file_.write(layout_.header.table_offset + block * 4, kUnused));
        ++dropped;
    }
    if (dropped != 0) done_.push_back("marked " + std::to_string(dropped) + " blocks that the file lacks as unused");
    return {};
}

// There is one at most, since two would overlap, and no footer behind it, since it would overlap that.
Result<void> Repair::complete_cut_block() {
    if (!layout_.has(VhdProblemKind::block_cut)) return {};
    const u64 end = layout_.append_offset;
    LODGE_TRY(file_.truncate(end));
    done_.push_back("filled up the last block with " + std::to_string(end - layout_.file_size) + " bytes of zeros");
    layout_.file_size = end;
    return {};
}

Result<void> Repair::write_end_footer() {
    if (!layout_.has(VhdProblemKind::end_footer)) return {};
    // In place of a damaged one, if that is what ends the file; else behind everything.
    u64 offset = align_up(std::max(layout_.file_size, layout_.append_offset), 512);
    if (layout_.file_size >= layout_.append_offset + kVhdFooterSize) {
        std::array<u8, kVhdFooterSize> last;
        LODGE_TRY(file_.read(layout_.file_size - kVhdFooterSize, last));
        if (has_vhd_cookie(last)) offset = layout_.file_size - kVhdFooterSize;
    }
    LODGE_TRY(file_.write(offset, layout_.footer_bytes));
    done_.push_back("wrote the footer at byte " + std::to_string(offset) + " from its copy");
    return {};
}

Result<void> Repair::write_footer_copy() {
    if (!layout_.has(VhdProblemKind::footer_copy)) return {};
    LODGE_TRY(file_.write(0, layout_.footer_bytes));
    done_.push_back("wrote the copy of the footer at byte 0");
    return {};
}

void take_notes(const VhdLayout& layout, std::vector<std::string>& notes) {
    if (layout.footer.saved_state) notes.push_back("the footer says that a machine's state was saved with this disk");
    if (layout.footer_at_end && layout.file_size - layout.footer_offset == kVhdOldFooterSize)
        notes.push_back("the footer has 511 bytes, as before Virtual PC 2004");
    if (layout.footer.type == VhdType::fixed) return;
    if (layout.footer_offset > layout.append_offset)
        notes.push_back(std::to_string(layout.footer_offset - layout.append_offset) +
                        " unused bytes come before the footer");
}

// Adds what there is to say about a child's link to its parent; the parent's path where it is there.
Result<std::string> check_link(CheckReport& report, const OpenOptions& options, std::vector<VhdId>& descendants) {
    auto file = options.open_file(report.path, FileAccess::read);
    if (!file) return file.error();
    const auto details = look_at_image(**file, options, Strictness::list_problems);
    if (!details) return details.error();
    descendants.push_back(details->vhd->footer.unique_id);
    const auto found =
        find_parent(**file, *details->vhd, options, descendants, FileAccess::read, Strictness::list_problems);
    if (!found) {
        report.problems.push_back(found.error().context);
        ++report.problem_count;
        ++report.left;
        return std::string{};
    }
    if (!found->warning.empty()) report.notes.push_back(found->warning);
    if (found->details.disk_size != details->disk_size)
        report.notes.push_back("its parent's disk has " + std::to_string(found->details.disk_size) +
                               " bytes, its own " + std::to_string(details->disk_size));
    return found->path;
}

}  // namespace

Result<std::vector<CheckReport>> check_chain(const std::string& path, const OpenOptions& options, bool repair) {
    std::vector<CheckReport> reports;
    std::vector<VhdId> descendants;
    for (std::string next = path; !next.empty();) {
        auto report = check_image(next, options, repair);
        if (!report) return report.error();
        next.clear();
        if (report->format == ImageFormat::vhd_differencing) {
            auto parent = check_link(*report, options, descendants);
            if (!parent) return parent.error();
            next = *parent;
        }
        reports.push_back(std::move(*report));
    }
    return reports;
}

Result<CheckReport> check_image(const std::string& path, const OpenOptions& options, bool repair) {
    auto file = options.open_file(path, repair ? FileAccess::read_write : FileAccess::read);
    if (!file) return file.error();
    return check_image(**file, options, repair);
}

Result<CheckReport> check_image(File& file, const OpenOptions& options, bool repair) {
    auto look = look_at_image(file, options, Strictness::list_problems);
    if (!look) return look.error();
    CheckReport report;
    report.path = file.name();
    report.format = look->format;
    if (!look->vhd) return report;
    for (const VhdProblem& problem : look->vhd->problems) report.problems.push_back(problem.text);
    report.problem_count = look->vhd->problem_count();
    report.left = report.problem_count;
    take_notes(*look->vhd, report.notes);
    if (!repair || report.problem_count == 0) return report;
    LODGE_TRY(Repair(file, *look->vhd, report.repairs).run());
    auto after = look_at_image(file, options, Strictness::list_problems);
    if (!after) return after.error();
    report.left = after->vhd ? after->vhd->problem_count() : 0;
    return report;
}

}  // namespace lodge
