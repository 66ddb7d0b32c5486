// The C++ client against a fake broker: what it adds to the generated stubs.

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "socketbroker/client.h"
#include "tests/client_stubs/fake_broker.h"

namespace socketbroker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using namespace std::chrono_literals;  // NOLINT(google-build-using-namespace)

class CppClientTest : public ::testing::Test {
 protected:
  // Epochs grow with every look at the broker, as if somebody revoked between.
  void GrowEpochs(uint64_t first) {
    broker_.On<v1::GetBrokerInfoRequest, v1::GetBrokerInfoResponse>(
        [next = first](const auto&, auto* response) mutable {
          response->set_epoch(next++);
          return grpc::Status::OK;
        });
  }

  // Answers CreateTicket with these, one after another.
  void AnswerTickets(std::vector<grpc::Status> statuses) {
    broker_.On<v1::CreateTicketRequest, v1::CreateTicketResponse>(
        [statuses, next = size_t{0}](const auto&, auto* response) mutable {
          response->set_ticket("secret");
          return statuses.at(next++);
        });
  }

  std::vector<uint64_t> TicketEpochs() const {
    std::vector<uint64_t> epochs;
    for (const auto& request : broker_.Requests<v1::CreateTicketRequest>()) {
      epochs.push_back(request.verified_at_epoch());
    }
    return epochs;
  }

  template <typename Request>
  size_t Count() const {
    return broker_.Requests<Request>().size();
  }

  FakeBroker broker_;
  Client client_{broker_.address()};
};

// Calls one method and checks that its own request and response went through.
#define EXPECT_PASSES(method)                                          \
  do {                                                                 \
    v1::method##Response response;                                     \
    EXPECT_TRUE(client_.method(v1::method##Request(), &response).ok()) \
        << #method;                                                    \
    EXPECT_EQ(Count<v1::method##Request>(), 1) << #method;             \
  } while (false)

TEST_F(CppClientTest, HasOneMethodForEveryRpc) {
  EXPECT_PASSES(AddConnection);
  EXPECT_PASSES(AdmitConnection);
  EXPECT_PASSES(UpdateConnection);
  EXPECT_PASSES(UpdateConnectionsFiltered);
  EXPECT_PASSES(RemoveConnection);
  EXPECT_PASSES(CreateTicket);
  EXPECT_PASSES(CloseSocketsForSession);
  EXPECT_PASSES(CloseSocketsForAccount);
  EXPECT_PASSES(CloseSocketsForToken);
  EXPECT_PASSES(CloseSocketsFiltered);
  EXPECT_PASSES(ListRevocations);
  EXPECT_PASSES(LiftRevocation);
  EXPECT_PASSES(Send);
  EXPECT_PASSES(SendToConnection);
  EXPECT_PASSES(SendToAccount);
  EXPECT_PASSES(BroadcastFiltered);
  EXPECT_PASSES(RequestConnection);
  EXPECT_PASSES(GetConnection);
  EXPECT_PASSES(ListConnections);
  EXPECT_PASSES(CountConnections);
  EXPECT_PASSES(GetBrokerInfo);
  const int unary = 21;
  // Attach, Publish, RequestFiltered, WatchConnections: of their own
  const int streams = 4;
  EXPECT_EQ(v1::SendRequest::descriptor()->file()->service(0)->method_count(),
            unary + streams);
}

TEST_F(CppClientTest, GivesEveryCallTheDefaultDeadline) {
  v1::SendResponse response;
  const auto before = std::chrono::system_clock::now();
  ASSERT_TRUE(client_.Send({}, &response).ok());
  EXPECT_GT(broker_.deadline(), before + 8s);
  EXPECT_LT(broker_.deadline(), std::chrono::system_clock::now() + 11s);
}

TEST_F(CppClientTest, TakesADeadlineForOneCall) {
  v1::SendResponse response;
  ASSERT_TRUE(client_.Send({}, &response, {.deadline = 1h}).ok());
  EXPECT_GT(broker_.deadline(), std::chrono::system_clock::now() + 50min);
}

TEST_F(CppClientTest, PreparesEveryCallWithTheHook) {
  Client client(broker_.address(), {.prepare = [](grpc::ClientContext& call) {
                  call.AddMetadata("authorization", "Bearer k1");
                }});
  v1::SendResponse response;
  ASSERT_TRUE(client.Send({}, &response).ok());
  EXPECT_THAT(broker_.metadata(),
              ::testing::Contains(Pair("authorization", "Bearer k1")));
}

TEST_F(CppClientTest, SendsTheApiKeyWithEveryCall) {
  Client client(broker_.address(), {.api_key = "k2"});
  v1::SendResponse response;
  ASSERT_TRUE(client.Send({}, &response).ok());
  EXPECT_THAT(broker_.metadata(),
              ::testing::Contains(Pair("authorization", "Bearer k2")));
}

TEST_F(CppClientTest, SaysWhichFileOfTlsItCannotRead) {
  std::string error;
  EXPECT_EQ(TlsFromFiles({.ca = "/nonexistent/ca.pem"}, &error), nullptr);
  EXPECT_THAT(error, ::testing::HasSubstr("/nonexistent/ca.pem"));
  EXPECT_EQ(TlsFromFiles({.certificate = "c.pem"}, &error), nullptr);
  EXPECT_THAT(error, ::testing::HasSubstr("together"));
  EXPECT_NE(TlsFromFiles({}, &error), nullptr);
}

TEST_F(CppClientTest, WaitsForAReadyConnectionUntilTheDeadline) {
  v1::SendResponse response;
  Client waiting("unix:/nonexistent/broker.sock");
  EXPECT_EQ(waiting.Send({}, &response, {.deadline = 50ms}).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  Client hasty("unix:/nonexistent/broker.sock", {.wait_for_ready = false});
  EXPECT_EQ(hasty.Send({}, &response).error_code(),
            grpc::StatusCode::UNAVAILABLE);
}

TEST_F(CppClientTest, RemembersTheEpochOfTheNewestAnswer) {
  EXPECT_EQ(client_.newest_epoch(), 0);
  GrowEpochs(20);
  v1::GetBrokerInfoResponse info;
  ASSERT_TRUE(client_.GetBrokerInfo({}, &info).ok());
  EXPECT_EQ(client_.newest_epoch(), 20);

  // The last answer has none.
  for (uint64_t epoch : {30, 25, 0}) {
    broker_
        .On<v1::CloseSocketsForTokenRequest, v1::CloseSocketsForTokenResponse>(
            [epoch](const auto&, auto* response) {
              response->set_epoch(epoch);
              return grpc::Status::OK;
            });
    v1::CloseSocketsForTokenResponse closed;
    ASSERT_TRUE(client_.CloseSocketsForToken({}, &closed).ok());
    EXPECT_EQ(client_.newest_epoch(), epoch == 0 ? 25 : epoch);
  }
}

TEST_F(CppClientTest, TakesTheEpochBeforeItVerifies) {
  GrowEpochs(5);
  AnswerTickets({grpc::Status::OK});
  v1::CreateTicketRequest request;
  request.mutable_identity()->set_account_id("a1");
  request.set_verified_at_epoch(99);
  v1::CreateTicketResponse response;
  const grpc::Status status = client_.CreateTicketVerified(
      request,
      [&](v1::Identity* identity) {
        EXPECT_EQ(client_.newest_epoch(), 5);
        EXPECT_EQ(Count<v1::CreateTicketRequest>(), 0);
        identity->set_token_hash("h1");
        // Somebody revokes and this client hears of it: too late to count.
        v1::GetBrokerInfoResponse info;
        return client_.GetBrokerInfo({}, &info);
      },
      &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.ticket(), "secret");
  EXPECT_THAT(TicketEpochs(), ElementsAre(5));
  const auto sent = broker_.Requests<v1::CreateTicketRequest>()[0];
  EXPECT_EQ(sent.identity().account_id(), "a1");
  EXPECT_EQ(sent.identity().token_hash(), "h1");
  EXPECT_EQ(client_.newest_epoch(), 6);
}

TEST_F(CppClientTest, UsesTheEpochItKnows) {
  GrowEpochs(5);
  AnswerTickets({grpc::Status::OK, grpc::Status::OK});
  v1::CreateTicketResponse response;
  const Verify stands = [](v1::Identity*) { return grpc::Status::OK; };
  ASSERT_TRUE(client_.CreateTicketVerified({}, stands, &response).ok());
  ASSERT_TRUE(client_.CreateTicketVerified({}, stands, &response).ok());
  EXPECT_EQ(Count<v1::GetBrokerInfoRequest>(), 1);
}

TEST_F(CppClientTest, VerifiesAgainAndRetriesOnceWhenRevokedOrTooOld) {
  for (const std::string reason : {"CREDENTIAL_REVOKED", "EPOCH_TOO_OLD"}) {
    SCOPED_TRACE(reason);
    FakeBroker broker;
    Client client(broker.address());
    uint64_t epoch = 5;
    broker.On<v1::GetBrokerInfoRequest, v1::GetBrokerInfoResponse>(
        [&](const auto&, auto* response) {
          response->set_epoch(epoch++);
          return grpc::Status::OK;
        });
    broker.On<v1::AddConnectionRequest, v1::AddConnectionResponse>(
        [&](const auto& request, auto* response) {
          if (request.verified_at_epoch() < 6) {
            return Refused(grpc::StatusCode::FAILED_PRECONDITION, reason);
          }
          response->mutable_connection()->set_version(1);
          return grpc::Status::OK;
        });
    int looks = 0;
    v1::AddConnectionResponse response;
    const grpc::Status status = client.AddConnectionVerified(
        {},
        [&](v1::Identity* identity) {
          EXPECT_FALSE(identity->has_account_id()) << "left from before";
          identity->set_account_id("a" + std::to_string(++looks));
          return grpc::Status::OK;
        },
        &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.connection().version(), 1);
    const auto requests = broker.Requests<v1::AddConnectionRequest>();
    ASSERT_EQ(requests.size(), 2);
    EXPECT_EQ(requests[0].verified_at_epoch(), 5);
    EXPECT_EQ(requests[1].verified_at_epoch(), 6);
    EXPECT_EQ(requests[1].identity().account_id(), "a2");
  }
}

TEST_F(CppClientTest, TakesTheLowerEpochOfAnotherBroker) {
  GrowEpochs(90);
  AnswerTickets({Refused(grpc::StatusCode::INVALID_ARGUMENT, "EPOCH_AHEAD"),
                 grpc::Status::OK});
  v1::GetBrokerInfoResponse info;
  ASSERT_TRUE(client_.GetBrokerInfo({}, &info).ok());
  GrowEpochs(5);
  int looks = 0;
  v1::CreateTicketResponse response;
  const grpc::Status status = client_.CreateTicketVerified(
      {},
      [&](v1::Identity*) {
        ++looks;
        return grpc::Status::OK;
      },
      &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(looks, 2);
  EXPECT_THAT(TicketEpochs(), ElementsAre(90, 5));
  EXPECT_EQ(client_.newest_epoch(), 5);
}

TEST_F(CppClientTest, GivesUpWhenRevokedTwice) {
  GrowEpochs(5);
  const grpc::Status revoked =
      Refused(grpc::StatusCode::FAILED_PRECONDITION, "CREDENTIAL_REVOKED");
  AnswerTickets({revoked, revoked});
  v1::CreateTicketResponse response;
  const grpc::Status status = client_.CreateTicketVerified(
      {}, [](v1::Identity*) { return grpc::Status::OK; }, &response);
  EXPECT_EQ(GetErrorDetails(status).reason, "CREDENTIAL_REVOKED");
  EXPECT_THAT(TicketEpochs(), ElementsAre(5, 6));
}

TEST_F(CppClientTest, DoesNotRetryOtherRefusals) {
  GrowEpochs(5);
  AnswerTickets({Refused(grpc::StatusCode::INVALID_ARGUMENT, "OTHER")});
  v1::CreateTicketResponse response;
  const grpc::Status status = client_.CreateTicketVerified(
      {}, [](v1::Identity*) { return grpc::Status::OK; }, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(TicketEpochs(), ElementsAre(5));
}

TEST_F(CppClientTest, BindsNothingThatDoesNotVerify) {
  GrowEpochs(5);
  AnswerTickets(
      {Refused(grpc::StatusCode::FAILED_PRECONDITION, "CREDENTIAL_REVOKED")});
  const grpc::Status gone(grpc::StatusCode::UNAUTHENTICATED, "logged out");
  int looks = 0;
  v1::CreateTicketResponse response;
  const grpc::Status status = client_.CreateTicketVerified(
      {}, [&](v1::Identity*) { return ++looks == 1 ? grpc::Status::OK : gone; },
      &response);
  EXPECT_EQ(status.error_message(), "logged out");
  EXPECT_EQ(looks, 2);
  EXPECT_THAT(TicketEpochs(), ElementsAre(5));
}

TEST(ErrorDetailsTest, ReadsReasonMetadataAndViolations) {
  google::rpc::Status details;
  google::rpc::BadRequest bad;
  auto* violation = bad.add_field_violations();
  violation->set_field("identity.account_id");
  violation->set_description("is empty; 1 to 256 bytes are allowed");
  bad.add_field_violations()->set_field("ttl");
  google::rpc::ErrorInfo info;
  info.set_reason("R");
  info.set_domain("socketbroker");
  (*info.mutable_metadata())["k"] = "v";
  details.add_details()->PackFrom(bad);
  details.add_details()->PackFrom(info);
  const ErrorDetails read = GetErrorDetails(grpc::Status(
      grpc::StatusCode::INVALID_ARGUMENT, "", details.SerializeAsString()));
  EXPECT_EQ(read.reason, "R");
  EXPECT_THAT(read.metadata, ElementsAre(Pair("k", "v")));
  ASSERT_EQ(read.violations.size(), 2);
  EXPECT_EQ(read.violations[0].field, "identity.account_id");
  EXPECT_EQ(read.violations[0].description,
            "is empty; 1 to 256 bytes are allowed");
  EXPECT_EQ(read.violations[1].field, "ttl");
}

TEST(ErrorDetailsTest, LeavesOutWhatIsNotTheBrokersOrNotReadable) {
  EXPECT_THAT(GetErrorDetails(grpc::Status::OK).reason, IsEmpty());
  EXPECT_THAT(
      GetErrorDetails(Refused(grpc::StatusCode::INTERNAL, "X", "elsewhere"))
          .reason,
      IsEmpty());
  EXPECT_THAT(GetErrorDetails(grpc::Status(grpc::StatusCode::INTERNAL, "",
                                           "\x1a\xff garbage"))
                  .reason,
              IsEmpty());
}

}  // namespace
}  // namespace socketbroker
