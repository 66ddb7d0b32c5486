#include "broker/core/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstdio>
#include <memory>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"

namespace broker {
namespace {

constexpr uint32_t kInvalid = 0xffffffff;

// Takes the first code point off `text`, which is not empty; kInvalid and one
// byte when it is not UTF-8 (Unicode 15, table 3-7).
uint32_t TakeCodePoint(absl::string_view& text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  size_t length = 1;
  uint32_t code = lead;
  if (lead >= 0xf0 && lead < 0xf5) {
    length = 4;
    code = lead & 0x07;
  } else if (lead >= 0xe0) {
    length = 3;
    code = lead & 0x0f;
  } else if (lead >= 0xc2) {
    length = 2;
    code = lead & 0x1f;
  }
  bool valid = lead < 0x80 || (lead >= 0xc2 && lead < 0xf5);
  valid = valid && length <= text.size();
  for (size_t i = 1; valid && i < length; ++i) {
    valid = (byte(i) & 0xc0) == 0x80;
    code = (code << 6) | (byte(i) & 0x3f);
  }
  valid = valid && (length < 3 || code >= (length == 3 ? 0x800u : 0x10000u)) &&
          code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
  text.remove_prefix(valid ? length : 1);
  return valid ? code : kInvalid;
}

// What a terminal would obey or a viewer would take for a line's end: the C0
// and C1 controls, the line separators, and what turns the writing direction.
bool MustEscape(uint32_t code) {
  return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 ||
         code == 0x2029 || (code >= 0x200e && code <= 0x200f) ||
         (code >= 0x202a && code <= 0x202e) ||
         (code >= 0x2066 && code <= 0x2069) || code == 0xfeff;
}

// The inside of a JSON string.
void AppendEscaped(absl::string_view text, std::string& out) {
  const bool cut = text.size() > LogValue::kMaxText;
  if (cut) text = text.substr(0, LogValue::kMaxText);
  while (!text.empty()) {
    const char* const begin = text.data();
    const uint32_t code = TakeCodePoint(text);
    if (code == kInvalid) {
      out += "\\ufffd";
    } else if (code == '"' || code == '\\') {
      out += '\\';
      out += static_cast<char>(code);
    } else if (code == '\n') {
      out += "\\n";
    } else if (MustEscape(code)) {
      absl::StrAppendFormat(&out, "\\u%04x", code);
    } else {
      out.append(begin, text.data());
    }
  }
  if (cut) out += "...";
}

void AppendQuoted(absl::string_view text, std::string& out) {
  out += '"';
  AppendEscaped(text, out);
  out += '"';
}

bool IsOneWord(absl::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte <= 0x20 || byte >= 0x7f || c == '"' || c == '\\' || c == '=') {
      return false;
    }
  }
  return !text.empty() && text.size() <= LogValue::kMaxText;
}

absl::string_view LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
  }
  return "error";
}

std::string JsonLine(LogLevel level, absl::string_view event,
                     absl::string_view sentence,
                     absl::Span<const LogField> fields) {
  std::string line =
      absl::StrCat(R"({"time":")",
                   absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(),
                                    absl::UTCTimeZone()),
                   R"(","level":")", LevelName(level), R"(","event":)");
  AppendQuoted(event, line);
  line += R"(,"message":)";
  AppendQuoted(sentence, line);
  for (const LogField& field : fields) {
    line += ',';
    AppendQuoted(field.key, line);
    line += ':';
    field.value.AppendJson(line);
  }
  line += '}';
  return line;
}

std::string TextLine(LogLevel level, absl::string_view event,
                     absl::string_view sentence,
                     absl::Span<const LogField> fields) {
  std::string line =
      absl::StrFormat("%s %-7s ",
                      absl::FormatTime("%Y-%m-%d %H:%M:%E3S", absl::Now(),
                                       absl::LocalTimeZone()),
                      LevelName(level));
  AppendEscaped(event, line);
  line += ": ";
  AppendEscaped(sentence, line);
  for (const LogField& field : fields) {
    line += ' ';
    AppendEscaped(field.key, line);
    line += '=';
    field.value.AppendText(line);
  }
  return line;
}

// Writes each line with one write, to stderr or to the test's sink.
class LineSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  void Redirect(LogSink sink) {
    const std::lock_guard<std::mutex> lock(mutex_);
    redirect_ = std::move(sink);
  }

 private:
  void sink_it_(const spdlog::details::log_msg& msg) override {
    if (redirect_) {
      redirect_(absl::string_view(msg.payload.data(), msg.payload.size()));
      return;
    }
    buffer_.assign(msg.payload.data(), msg.payload.size());
    buffer_ += '\n';
    std::fwrite(buffer_.data(), 1, buffer_.size(), stderr);
  }
  void flush_() override { std::fflush(stderr); }

  LogSink redirect_;
  std::string buffer_;
};

struct Logger {
  std::shared_ptr<LineSink> sink = std::make_shared<LineSink>();
  spdlog::logger logger{"socket-broker", sink};
  std::atomic<LogLevel> level{LogLevel::kInfo};
  std::atomic<LogFormat> format{LogFormat::kAuto};
  const bool terminal = isatty(STDERR_FILENO) == 1;
};

// Never destroyed: threads may log until the process is gone.
Logger& TheLogger() {
  static Logger& logger = *new Logger;
  return logger;
}

}  // namespace

void LogValue::AppendJson(std::string& out) const {
  switch (kind_) {
    case Kind::kText:
      return AppendQuoted(text_, out);
    case Kind::kBool:
      out += unsigned_ != 0 ? "true" : "false";
      return;
    case Kind::kSigned:
      return absl::StrAppend(&out, signed_);
    case Kind::kUnsigned:
      return absl::StrAppend(&out, unsigned_);
    case Kind::kDouble:
      // JSON has no word for these.
      if (!std::isfinite(double_)) {
        out += "null";
        return;
      }
      return absl::StrAppend(&out, double_);
  }
}

void LogValue::AppendText(std::string& out) const {
  if (kind_ == Kind::kText && IsOneWord(text_)) {
    absl::StrAppend(&out, text_);
  } else {
    AppendJson(out);
  }
}

void Log(LogLevel level, absl::string_view event, absl::string_view sentence,
         std::initializer_list<LogField> fields) {
  Log(level, event, sentence, absl::Span<const LogField>(fields));
}

void Log(LogLevel level, absl::string_view event, absl::string_view sentence,
         absl::Span<const LogField> fields) {
  if (!LogEnabled(level)) return;
  Logger& log = TheLogger();
  const LogFormat format = log.format.load(std::memory_order_relaxed);
  const bool text = format == LogFormat::kText ||
                    (format == LogFormat::kAuto && log.terminal);
  const std::string line = text ? TextLine(level, event, sentence, fields)
                                : JsonLine(level, event, sentence, fields);
  // As a string_view it is payload, never a format string.
  log.logger.log(spdlog::level::critical,
                 spdlog::string_view_t(line.data(), line.size()));
}

bool LogEnabled(LogLevel level) {
  return level >= TheLogger().level.load(std::memory_order_relaxed);
}

void SetLogLevel(LogLevel level) { TheLogger().level = level; }
void SetLogFormat(LogFormat format) { TheLogger().format = format; }
void SetLogSink(LogSink sink) { TheLogger().sink->Redirect(std::move(sink)); }

void LogLimiter::Log(LogLevel level, absl::string_view event,
                     absl::string_view sentence,
                     std::initializer_list<LogField> fields) {
  Log(level, event, sentence, absl::Span<const LogField>(fields));
}

void LogLimiter::Log(LogLevel level, absl::string_view event,
                     absl::string_view sentence,
                     absl::Span<const LogField> fields) {
  if (!LogEnabled(level)) return;
  LeftOut before;
  {
    MutexLock lock(mu_);
    before = NextSecond(clock_.Monotonic());
    if (lines_ >= lines_per_second_) {
      if (left_out_.lines++ == 0) {
        left_out_.level = level;
        left_out_.event = std::string(event);
      }
      return;
    }
    ++lines_;
  }
  Tell(before);
  broker::Log(level, event, sentence, fields);
}

void LogLimiter::Flush() {
  LeftOut left_out;
  {
    MutexLock lock(mu_);
    left_out = NextSecond(clock_.Monotonic());
  }
  Tell(left_out);
}

LogLimiter::LeftOut LogLimiter::NextSecond(MonotonicTime now) {
  if (now - second_ < std::chrono::seconds(1)) return {};
  second_ = now;
  lines_ = 0;
  return std::exchange(left_out_, {});
}

void LogLimiter::Tell(const LeftOut& left_out) {
  if (left_out.lines == 0) return;
  broker::Log(left_out.level, left_out.event,
              "Lines of this event were left out: there were too many.",
              {{"left_out", left_out.lines}});
}

}  // namespace broker
