// Finds what is wrong with an image, and puts right what can be put right without guessing.
#pragma once

#include <string>
#include <vector>

#include "disks/open_image.h"

namespace lodge {

struct CheckReport {
    std::string path;
    ImageFormat format = ImageFormat::raw;
    std::vector<std::string> problems;  // the first kMostVhdProblems; place and finding
    u64 problem_count = 0;
    std::vector<std::string> repairs;  // what was done
    u64 left = 0;                      // problems after the repairs; problem_count without them
    std::vector<std::string> notes;    // unusual, and harmless
};

// With `repair` the image is opened for writing. Repaired are: a missing or damaged footer from its copy, a damaged
// copy from the footer, a table entry of which the file has no byte (the block then reads as zeros, and reading it was
// impossible before), a last block that the end of the file cuts off (what is missing reads as zeros). Where
// blocks overlap nothing is repaired, since only a person can tell whose the bytes are.
// Errors: as open_image's where there is no telling what the disk is.
Result<CheckReport> check_image(const std::string& path, const OpenOptions& options, bool repair);
Result<CheckReport> check_image(File& file, const OpenOptions& options, bool repair);

// Checks, and repairs, an image and its ancestors, nearest first. That an ancestor is not there is a problem of its
// child. Errors: as above, for any of them.
Result<std::vector<CheckReport>> check_chain(const std::string& path, const OpenOptions& options, bool repair);

}  // namespace lodge
