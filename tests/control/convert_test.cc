// Identities and shared fields of requests: what is refused, and that the error
// names field, value and what is allowed.

#include "broker/control/convert.h"

#include "absl/strings/match.h"
#include "broker/control/fields.h"
#include "broker/control/token.h"
#include "broker/filter/compiler.h"
#include "broker/filter/text_parser.h"
#include "gtest/gtest.h"
#include "socketbroker/v1/socket_broker.pb.h"
#include "tests/fakes/fake_clock.h"

namespace broker {
namespace {

namespace v1 = ::socketbroker::v1;

class ConvertTest : public ::testing::Test {
 protected:
  ConvertTest() { identity_.set_account_id("a"); }

  absl::StatusOr<IdentityPtr> Read() {
    return ReadIdentity("identity", true, identity_, clock_);
  }
  // The field that the error names; the description must have `part`.
  std::string Fault(const absl::Status& status, const std::string& part) {
    const auto violations = GetFieldViolations(status);
    if (violations.empty()) return status.ToString();
    EXPECT_TRUE(absl::StrContains(violations[0].description, part))
        << violations[0].description;
    return violations[0].field;
  }

  testing::FakeClock clock_;
  v1::Identity identity_;
};

TEST_F(ConvertTest, AnIdentityComesOutSorted) {
  (*identity_.mutable_labels())["z"] = "1";
  (*identity_.mutable_labels())["a"] = "";
  for (const char* g : {"g2", "g1", "g2"}) identity_.add_groups(g);
  identity_.set_token_hash("s");
  const auto identity = Read();
  ASSERT_TRUE(identity.ok()) << identity.status();
  EXPECT_EQ((*identity)->label_key(0), "a");
  EXPECT_EQ((*identity)->fields().groups,
            (std::vector<std::string>{"g1", "g2"}));
  EXPECT_EQ((*identity)->credential(), Credential::kSession);
}

TEST_F(ConvertTest, KeysMustBePresentAndNotEmptyAndNotLong) {
  EXPECT_EQ(Fault(ReadIdentity("identity", false, identity_, clock_).status(),
                  "missing"),
            "identity");
  identity_.clear_account_id();
  EXPECT_EQ(Fault(Read().status(), "missing"), "identity.account_id");
  identity_.set_account_id("");
  EXPECT_EQ(Fault(Read().status(), "empty"), "identity.account_id");
  identity_.set_account_id(std::string(256, 'x'));
  EXPECT_TRUE(Read().ok());
  identity_.set_account_id(std::string(257, 'x'));
  EXPECT_EQ(Fault(Read().status(), "at most 256"), "identity.account_id");
  identity_.set_account_id("a");
  identity_.set_token_hash("");
  EXPECT_EQ(Fault(Read().status(), "empty"), "identity.token_hash");
  identity_.clear_token_hash();
  identity_.set_api_token_id("");
  EXPECT_EQ(Fault(Read().status(), "empty"), "identity.api_token_id");
}

TEST_F(ConvertTest, OneCredentialAtMost) {
  identity_.set_token_hash("s");
  identity_.set_api_token_id("t");
  EXPECT_EQ(Fault(Read().status(), "one credential"), "identity.api_token_id");
}

TEST_F(ConvertTest, LabelsAndGroupsHaveLimits) {
  for (int i = 0; i < 64; ++i) {
    (*identity_.mutable_labels())["k" + std::to_string(i)] =
        std::string(256, 'v');
  }
  for (int i = 0; i < 128; ++i) identity_.add_groups(std::to_string(i));
  EXPECT_TRUE(Read().ok());
  identity_.add_groups("one more");
  EXPECT_EQ(Fault(Read().status(), "at most 128"), "identity.groups");
  identity_.clear_groups();
  identity_.add_groups("");
  EXPECT_EQ(Fault(Read().status(), "1 to 256"), "identity.groups[0]");
  identity_.clear_groups();
  (*identity_.mutable_labels())["another"] = "";
  EXPECT_EQ(Fault(Read().status(), "at most 64"), "identity.labels");
  identity_.clear_labels();
  (*identity_.mutable_labels())["a.b"] = "";
  EXPECT_EQ(Fault(Read().status(), "\"a.b\""), "identity.labels");
  identity_.clear_labels();
  (*identity_.mutable_labels())["k"] = std::string(257, 'v');
  EXPECT_EQ(Fault(Read().status(), "at most 256"), "identity.labels[\"k\"]");
}

TEST_F(ConvertTest, ExpiryMustBeAheadAndATime) {
  FromTime(clock_.Now(), identity_.mutable_expires_at());
  EXPECT_EQ(Fault(Read().status(), "in the past"), "identity.expires_at");
  FromTime(clock_.Now() + absl::Seconds(1), identity_.mutable_expires_at());
  EXPECT_TRUE(Read().ok());
  identity_.mutable_expires_at()->set_nanos(-1);
  EXPECT_EQ(Fault(Read().status(), "no time"), "identity.expires_at");
  identity_.mutable_expires_at()->set_nanos(0);
  identity_.mutable_expires_at()->set_seconds(int64_t{1} << 60);
  EXPECT_EQ(Fault(Read().status(), "no time"), "identity.expires_at");
}

TEST_F(ConvertTest, DurationsHaveBounds) {
  google::protobuf::Duration d;
  EXPECT_EQ(*ReadDuration("ttl", false, d, absl::Seconds(60)), std::nullopt);
  EXPECT_EQ(Fault(ReadDuration("ttl", true, d, absl::Seconds(60)).status(),
                  "above zero"),
            "ttl");
  d.set_seconds(60);
  EXPECT_TRUE(ReadDuration("ttl", true, d, absl::Seconds(60)).ok());
  d.set_nanos(1);
  EXPECT_EQ(Fault(ReadDuration("ttl", true, d, absl::Seconds(60)).status(),
                  "1m0.000000001s"),
            "ttl");
  d.set_seconds(-1);
  EXPECT_FALSE(ReadDuration("ttl", true, d, absl::Seconds(60)).ok());
}

TEST_F(ConvertTest, IdsAreUuids) {
  EXPECT_EQ(Fault(ReadUuid("connection_id", "").status(), "missing"),
            "connection_id");
  EXPECT_EQ(Fault(ReadUuid("connection_id", "abc").status(), "\"abc\""),
            "connection_id");
  const Uuid id = Uuid::Make(clock_.Now());
  EXPECT_EQ(*ReadUuid("connection_id", id.ToString()), id);
  google::protobuf::RepeatedPtrField<std::string> ids;
  for (int i = 0; i < 1'001; ++i) *ids.Add() = id.ToString();
  EXPECT_EQ(Fault(ReadExcluded(ids).status(), "at most 1000"),
            "exclude_connection_ids");
  ids.RemoveLast();
  EXPECT_TRUE(ReadExcluded(ids).ok());
  ids.Mutable(7)->clear();
  EXPECT_EQ(Fault(ReadExcluded(ids).status(), "missing"),
            "exclude_connection_ids[7]");
}

TEST_F(ConvertTest, SelectorsMustSaySomething) {
  v1::BroadcastFilteredRequest request;
  EXPECT_EQ(Fault(ReadSelector(request).status(), "missing"), "selector");
  request.set_match_all(false);
  EXPECT_EQ(Fault(ReadSelector(request).status(), "true"), "match_all");
  request.set_match_all(true);
  EXPECT_TRUE((*ReadSelector(request))->matches_all());
  request.set_filter("nonsense = 1");
  EXPECT_EQ(Fault(ReadSelector(request).status(), "nonsense"), "filter");
  request.mutable_filter_expr();
  EXPECT_FALSE(ReadSelector(request).ok());
}

TEST_F(ConvertTest, NamespacesMustBeServed) {
  Settings settings;
  settings.endpoints.emplace_back();
  v1::SendRequest request;
  EXPECT_EQ(*ReadNamespace(request, *AnonymousCaller(), settings), "default");
  EXPECT_TRUE(ReadNamespaces(v1::CloseSocketsForSessionRequest(),
                             *AnonymousCaller(), settings)
                  ->empty());
  request.set_namespace_("other");
  EXPECT_EQ(Fault(ReadNamespace(request, *AnonymousCaller(), settings).status(),
                  "default"),
            "namespace");
}

TEST_F(ConvertTest, PageSizesAreCoercedAndStatesKnown) {
  EXPECT_EQ(*ReadPageSize(0), 100u);
  EXPECT_EQ(*ReadPageSize(7), 7u);
  EXPECT_EQ(*ReadPageSize(5'000), 1'000u);
  EXPECT_FALSE(ReadPageSize(-1).ok());
  v1::ListConnectionsRequest request;
  request.add_states(v1::CONNECTION_STATE_PENDING);
  EXPECT_FALSE(ReadStates(request.states())->Has(ConnectionState::kAdmitted));
  request.add_states(v1::CONNECTION_STATE_UNSPECIFIED);
  EXPECT_EQ(Fault(ReadStates(request.states()).status(), "no state"),
            "states[1]");
}

TEST_F(ConvertTest, TokensAreBoundToTheirRequest) {
  const std::string token = MakeToken("list default", "position");
  EXPECT_EQ(*ReadToken("page_token", token, "list default"), "position");
  EXPECT_EQ(Fault(ReadToken("page_token", token, "list other").status(),
                  "not given for this request"),
            "page_token");
  for (const std::string& bad :
       {std::string("!"), std::string(), token.substr(1)}) {
    EXPECT_FALSE(ReadToken("page_token", bad, "list default").ok()) << bad;
  }
  EXPECT_EQ(UnpackNumbers(PackNumbers({1, 0, ~uint64_t{0}})),
            (std::vector<uint64_t>{1, 0, ~uint64_t{0}}));
}

TEST_F(ConvertTest, AConnectionAndAFenceComeOutWhole) {
  ConnectionInfo info;
  info.id = Uuid::Make(clock_.Now());
  info.ns = "default";
  info.state = ConnectionState::kClosing;
  info.connect_time = clock_.Now();
  info.close_code = 4001;
  identity_.set_api_token_id("t");
  info.identity = *Read();
  const v1::Connection out = ToProto(info);
  EXPECT_EQ(out.connection_id(), info.id.ToString());
  EXPECT_EQ(out.state(), v1::CONNECTION_STATE_CLOSING);
  EXPECT_EQ(out.identity().api_token_id(), "t");
  EXPECT_FALSE(out.identity().has_token_hash());
  EXPECT_FALSE(out.has_admit_time());
  EXPECT_EQ(out.close_code(), 4001u);

  Fence fence;
  fence.id = info.id;
  fence.target.kind = RevocationTarget::Kind::kAccount;
  fence.target.key = "a";
  fence.target.keep_token_hash = "s";
  fence.epoch = 5;
  const v1::Revocation revocation = ToProto(fence);
  EXPECT_EQ(revocation.account_id(), "a");
  EXPECT_EQ(revocation.keep_token_hash(), "s");
  EXPECT_TRUE(revocation.namespaces().empty());
  EXPECT_FALSE(revocation.has_within());

  fence.target.namespaces = {"blue", "green"};
  fence.target.within = *CompileFilter(*ParseFilter("labels.tenant = acme"));
  const v1::Revocation narrow = ToProto(fence);
  EXPECT_EQ(narrow.namespaces_size(), 2);
  EXPECT_EQ(narrow.namespaces(1), "green");
  EXPECT_EQ(narrow.within().comparison().field(), "labels.tenant");
}

}  // namespace
}  // namespace broker
