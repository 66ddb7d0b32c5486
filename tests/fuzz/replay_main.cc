// A main for fuzz targets where there is no libFuzzer: runs the target over
// every file of the given folders. A folder that is missing or empty fails, or
// a lost corpus would pass for a clean one.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

// The files of the folder, sorted; none when it cannot be read.
std::vector<std::filesystem::path> FilesOf(const char* folder) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end;
       !error && it != end; it.increment(error)) {
    if (it->is_regular_file(error)) files.push_back(it->path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

bool Replay(const std::filesystem::path& path) {
  // Said first, so that a crash shows whose it is.
  std::printf("%s\n", path.c_str());
  std::fflush(stdout);
  std::ifstream file(path, std::ios::binary);
  const std::string data{std::istreambuf_iterator<char>(file), {}};
  if (!file.good() && !file.eof()) return false;
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(data.data()),
                         data.size());
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  int folders = 0;
  bool good = true;
  for (int i = 1; i < argc; ++i) {
    // A flag for libFuzzer, such as -runs=0.
    if (argv[i][0] == '-') continue;
    ++folders;
    const auto files = FilesOf(argv[i]);
    if (files.empty()) {
      std::fprintf(stderr, "%s is missing or empty\n", argv[i]);
      good = false;
    }
    for (const auto& file : files) {
      if (Replay(file)) continue;
      std::fprintf(stderr, "%s cannot be read\n", file.c_str());
      good = false;
    }
  }
  if (folders == 0) std::fprintf(stderr, "usage: %s FOLDER...\n", argv[0]);
  return good && folders > 0 ? 0 : 1;
}
