#include "broker/routing/offer_router.h"

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace broker {
namespace {

using Offer = OfferRouter::Offer;

class OfferRouterTest : public ::testing::Test {
 protected:
  OfferRouter::ServiceId Attach(uint64_t credit) {
    const auto id = router_.Attach("n");
    EXPECT_TRUE(router_.AddCredit(id, credit).empty());
    return id;
  }
  std::optional<Offer> Add(const std::string& ns = "n") {
    std::optional<Offer> offer;
    newest_ = router_.Add(ns, offer);
    return offer;
  }

  OfferRouter router_;
  OfferRouter::HandshakeId newest_ = 0;
};

TEST_F(OfferRouterTest, OneServiceGetsIt) {
  const auto a = Attach(1);
  const auto offer = Add();
  ASSERT_TRUE(offer);
  EXPECT_EQ(offer->service, a);
  EXPECT_EQ(router_.Find(offer->id, a), newest_);
  EXPECT_FALSE(router_.Find(offer->id, a + 1)) << "another's";
  router_.Remove(newest_);
  EXPECT_FALSE(router_.Find(offer->id, a)) << "answered";
  EXPECT_FALSE(router_.Expire(offer->id)) << "answered";
}

TEST_F(OfferRouterTest, WithoutCreditItWaitsInOrder) {
  const auto a = Attach(0);
  EXPECT_FALSE(Add());
  const auto first = newest_;
  EXPECT_FALSE(Add());
  const auto second = newest_;
  const auto offers = router_.AddCredit(a, 1);
  ASSERT_EQ(offers.size(), 1u);
  EXPECT_EQ(offers[0].handshake, first);
  // What is answered gives no credit back: the service does.
  router_.Remove(first);
  EXPECT_FALSE(Add());
  EXPECT_EQ(router_.AddCredit(a, 1).at(0).handshake, second);
}

TEST_F(OfferRouterTest, TheLeastLoadedGetsIt) {
  const auto a = Attach(10);
  const auto b = Attach(20);
  EXPECT_EQ(Add()->service, b) << "more credit";
  EXPECT_EQ(Add()->service, a) << "fewer open offers";
  router_.Remove(newest_);
  EXPECT_EQ(Add()->service, a) << "fewer open offers";
}

TEST_F(OfferRouterTest, UnansweredItGoesToTheNext) {
  const auto a = Attach(10);
  const auto b = Attach(10);
  const auto first = Add();
  const auto second = router_.Expire(first->id);
  ASSERT_TRUE(second);
  EXPECT_NE(second->service, first->service);
  EXPECT_EQ(second->handshake, first->handshake);
  EXPECT_FALSE(router_.Find(first->id, first->service)) << "no longer its";
  EXPECT_FALSE(router_.Expire(first->id)) << "twice";
  const auto third = router_.Expire(second->id);
  ASSERT_TRUE(third);
  EXPECT_EQ(third->service, first->service) << "there is no other";
  EXPECT_EQ(std::set({a, b}), std::set({first->service, second->service}));
}

TEST_F(OfferRouterTest, WhoLeavesGivesBackAtOnce) {
  const auto a = Attach(10);
  Add();
  Add();
  const auto b = Attach(1);
  const auto offers = router_.Detach(a);
  ASSERT_EQ(offers.size(), 1u) << "its credit";
  EXPECT_EQ(offers[0].service, b);
  EXPECT_TRUE(router_.HasServices("n"));
  EXPECT_TRUE(router_.Detach(b).empty());
  EXPECT_FALSE(router_.HasServices("n"));
  const auto c = router_.Attach("n");
  EXPECT_EQ(router_.AddCredit(c, 5).size(), 2u) << "both waited";
}

TEST_F(OfferRouterTest, NamespacesAreApart) {
  Attach(10);
  EXPECT_FALSE(Add("m"));
  EXPECT_FALSE(router_.HasServices("m"));
  const auto other = router_.Attach("m");
  EXPECT_EQ(router_.AddCredit(other, 1).size(), 1u);
}

TEST_F(OfferRouterTest, CreditHasALimit) {
  const auto a = Attach(~uint64_t{0});
  EXPECT_TRUE(router_.AddCredit(a, ~uint64_t{0}).empty());
  for (uint64_t i = 0; i < OfferRouter::kMaxCredit; ++i) ASSERT_TRUE(Add());
  EXPECT_FALSE(Add());
}

// Random lives of services and handshakes, against plain lists.
class Model {
 public:
  explicit Model(uint32_t seed) : random_(seed) {}

  void Step() {
    switch (random_() % 7) {
      case 0:
        Attach();
        break;
      case 1:
        if (random_() % 4 == 0) Detach();
        break;
      case 2:
        Credit();
        break;
      case 3:
        Add();
        break;
      case 5:
        Expire();
        break;
      case 4:
      case 6:
        Remove();
        break;
    }
    Check();
  }

 private:
  struct Service {
    std::string ns;
    uint64_t credit = 0;
  };
  struct Handshake {
    std::string ns;
    std::optional<Offer> offer;
    std::map<uint64_t, int> offered;
  };

  template <typename M>
  typename M::iterator Any(M& map) {
    auto it = map.begin();
    std::advance(it, static_cast<long>(random_() % map.size()));
    return it;
  }
  std::string Ns() { return random_() % 3 == 0 ? "m" : "n"; }
  size_t Open(uint64_t service) {
    return static_cast<size_t>(
        std::count_if(handshakes_.begin(), handshakes_.end(), [&](auto& h) {
          return h.second.offer && h.second.offer->service == service;
        }));
  }

  // The router says that this offer was made: it must be one that may be.
  void Made(const Offer& offer) {
    ASSERT_TRUE(seen_.insert(offer.id).second) << "an id is used again";
    Handshake& h = handshakes_.at(offer.handshake);
    ASSERT_FALSE(h.offer) << "to two at once";
    Service& to = services_.at(offer.service);
    ASSERT_EQ(to.ns, h.ns);
    ASSERT_GT(to.credit, 0u);
    for (const auto& [id, other] : services_) {
      if (other.ns != h.ns || other.credit == 0) continue;
      ASSERT_LE(std::pair(h.offered[offer.service], Open(offer.service)),
                std::pair(h.offered[id], Open(id)));
    }
    --to.credit;
    ++h.offered[offer.service];
    h.offer = offer;
  }
  void Made(const std::vector<Offer>& offers) {
    uint64_t last = 0;
    for (const Offer& offer : offers) {
      EXPECT_LT(last, offer.handshake) << "the oldest first";
      last = offer.handshake;
      Made(offer);
    }
  }

  void Attach() {
    if (services_.size() > 5) return;
    const std::string ns = Ns();
    services_[router_.Attach(ns)] = {ns, 0};
  }
  void Detach() {
    if (services_.empty()) return;
    const auto it = Any(services_);
    const uint64_t id = it->first;
    services_.erase(it);
    for (auto& [_, h] : handshakes_) {
      h.offered.erase(id);
      if (h.offer && h.offer->service == id) h.offer.reset();
    }
    Made(router_.Detach(id));
  }
  void Credit() {
    if (services_.empty()) return;
    const auto it = Any(services_);
    const uint64_t n = random_() % 4;
    it->second.credit += n;
    Made(router_.AddCredit(it->first, n));
  }
  void Add() {
    const std::string ns = Ns();
    std::optional<Offer> offer;
    handshakes_[router_.Add(ns, offer)].ns = ns;
    if (offer) Made(*offer);
  }
  void Expire() {
    if (handshakes_.empty()) return;
    Handshake& h = Any(handshakes_)->second;
    if (!h.offer) return;
    const Offer over = *std::exchange(h.offer, std::nullopt);
    const auto next = router_.Expire(over.id);
    EXPECT_FALSE(router_.Find(over.id, over.service));
    if (next) {
      EXPECT_EQ(next->handshake, over.handshake);
      Made(*next);
    }
  }
  void Remove() {
    if (handshakes_.empty()) return;
    const auto it = Any(handshakes_);
    router_.Remove(it->first);
    handshakes_.erase(it);
  }

  void Check() {
    for (const auto& [id, h] : handshakes_) {
      if (h.offer) {
        ASSERT_EQ(router_.Find(h.offer->id, h.offer->service), id);
        continue;
      }
      for (const auto& [_, s] : services_) {
        ASSERT_FALSE(s.ns == h.ns && s.credit > 0)
            << "it waits, and somebody could take it";
      }
    }
    for (const std::string ns : {"n", "m"}) {
      ASSERT_EQ(router_.HasServices(ns),
                std::any_of(services_.begin(), services_.end(),
                            [&](auto& s) { return s.second.ns == ns; }));
    }
  }

  std::minstd_rand random_;
  OfferRouter router_;
  std::map<uint64_t, Service> services_;
  std::map<uint64_t, Handshake> handshakes_;
  std::set<uint64_t> seen_;
};

TEST(OfferRouterModelTest, AsPlainListsSay) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Model model(seed);
    for (int i = 0; i < 1000; ++i) {
      model.Step();
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
}

}  // namespace
}  // namespace broker
