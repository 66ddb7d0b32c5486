#include "broker/ws/server.h"

#include <unistd.h>

#include <utility>

#include "broker/core/status_macros.h"
#include "broker/ws/engine.h"
#include "broker/ws/io_thread.h"
#include "broker/ws/net.h"

namespace broker {

WsServer::WsServer(Options options) : options_(std::move(options)) {
  for (int i = 0; i < options_.shards; ++i) {
    threads_.push_back(std::make_unique<IoThread>());
    transports_.push_back(threads_.back().get());
  }
}

WsServer::~WsServer() {
  Stop();
  for (const int fd : listeners_) close(fd);
}

absl::Status WsServer::Bind() {
  BROKER_ASSIGN_OR_RETURN(
      Listeners listeners,
      Listen(options_.address, options_.port, options_.shards));
  listeners_ = std::move(listeners.fds);
  port_ = listeners.port;
  return absl::OkStatus();
}

void WsServer::Start(absl::Span<Shard* const> shards) {
  for (size_t i = 0; i < threads_.size(); ++i) {
    threads_[i]->Start(*shards[i], listeners_[i], options_.tls);
  }
  listeners_.clear();
}

void WsServer::SetTls(const TlsContextPtr& tls) {
  for (const auto& thread : threads_) thread->SetTls(tls);
}

void WsServer::StopAccepting() {
  for (const auto& thread : threads_) thread->StopAccepting();
}

void WsServer::Stop() {
  for (const auto& thread : threads_) thread->Stop();
}

int64_t WsServer::live_connections() { return Engine::live_connections(); }

}  // namespace broker
