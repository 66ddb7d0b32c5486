// ConfigFixture: loads a configuration from a text.

#pragma once

#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "broker/app/config.h"
#include "gtest/gtest.h"

namespace broker::testing {

// A file that is gone with the test.
class ConfigFixture : public ::testing::Test {
 protected:
  ConfigFixture()
      : file_(absl::StrCat(::testing::TempDir(), "config_test.", getpid(),
                           ".yaml")) {
    sources_.descriptor_limit = 20'000;
  }
  ~ConfigFixture() override { std::remove(file_.c_str()); }

  absl::StatusOr<Config> Load(absl::string_view yaml) {
    std::ofstream(file_, std::ios::binary) << yaml;
    sources_.file = file_;
    return LoadConfig(sources_);
  }

  // What is said of a bad one, without the file's name.
  std::string Fault(absl::string_view yaml) {
    std::string message(Load(yaml).status().message());
    const size_t at = message.find(file_);
    return at == std::string::npos ? message : message.erase(at, file_.size());
  }

  const std::string file_;
  ConfigSources sources_;
};

}  // namespace broker::testing
