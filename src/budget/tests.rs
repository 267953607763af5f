use alloc::vec::Vec;

use super::*;

fn budget(bytes_max: usize, message_max: usize) -> Arc<Budget> {
    Budget::new(bytes_max, message_max, Waker::noop().clone())
}

#[test]
fn what_is_charged_comes_back_whoever_has_it_last() {
    let budget = budget(1200, 100);
    let accounts = [Account::new(&budget), Account::new(&budget)];
    let mut charge = accounts[0].charge(300);
    let other = accounts[1].charge(600);
    assert_eq!((budget.left(), accounts[0].used(), accounts[1].used()), (-100, 300, 600));
    charge.move_to(&accounts[1]);
    assert_eq!((budget.left(), accounts[0].used(), accounts[1].used()), (-100, 0, 900));
    drop(other);
    assert_eq!((budget.left(), accounts[1].used()), (500, 300));
    drop(charge);
    assert_eq!((budget.used(), accounts[1].used()), (0, 0));
}

#[test]
fn each_account_that_has_much_leaves_as_much_again_to_the_others() {
    let budget = budget(1200, 0);
    let mut held = Vec::new();
    for share in [600, 300, 150] {
        let account = Account::new(&budget);
        // What it takes is not left, either.
        while account.has_room_for(0) && account.used() < 10_000 {
            held.push(account.charge(1));
        }
        assert!(account.used().abs_diff(share) <= 1, "{}", account.used());
    }
}

#[test]
fn what_may_come_unasked_is_set_aside_and_no_number_of_links_gets_more_than_an_eighth() {
    let budget = budget(64 << 20, 0);
    let mut shares: Vec<Share> = (0..5000).map(|_| budget.share()).collect();
    assert_eq!(shares[0].allowance(), PLENTY_BYTES);
    assert_eq!(shares[4999].allowance(), SMALL_BYTES_MAX);
    let counted = shares.iter().map(|share| set_aside_for(share.allowance()));
    let counted: usize = counted.sum();
    assert!(counted <= 8 << 20, "{counted}");
    assert_eq!(budget.left(), signed((64 << 20) - counted), "it is not anybody else's");
    shares.clear();
    assert_eq!((budget.left(), budget.share().allowance()), (64 << 20, PLENTY_BYTES));
}

#[test]
fn long_messages_leave_room_for_short_ones_and_go_on_one_at_a_time() {
    const MIB: usize = 1 << 20;
    let budget = budget(256 * MIB, 16 * MIB);
    let mut arrivals = Arrivals::new(&budget);
    let mut charges: Vec<Option<Charge>> = (0..16).map(|_| None).collect();
    let ask = |arrivals: &mut Arrivals, charges: &mut [Option<Charge>], link: u32| {
        arrivals.admit(link, &mut charges[link as usize], 16 * MIB)
    };
    let admitted: usize = (0..16).map(|at| usize::from(ask(&mut arrivals, &mut charges, at))).sum();
    assert_eq!(admitted, 12, "11, and one in the reserve");
    let mut short = None;
    assert!(arrivals.admit(99, &mut short, MIB), "there is room for a short one");
    assert!(budget.used() <= 256 * MIB);
    arrivals.end(99, &mut short);
    let mut done = 0;
    // Whoever came last is through first, and each lets the next in.
    while let Some(at) = charges.iter().rposition(Option::is_some) {
        arrivals.end(u32::try_from(at).unwrap(), &mut charges[at]);
        done += 1;
        if arrivals.queue.has_news() {
            for next in arrivals.take_news() {
                assert!(ask(&mut arrivals, &mut charges, next));
            }
        }
        assert!(budget.used() <= 256 * MIB);
    }
    assert_eq!((done, budget.used()), (16, 0));
}

#[test]
fn a_party_with_many_links_leaves_as_much_as_it_has_to_others_and_all_of_its_messages_come() {
    const MIB: usize = 1 << 20;
    let budget = budget(256 * MIB, 16 * MIB);
    let mut arrivals = Arrivals::new(&budget);
    let (greedy, good) = (Party::at(Some("10.0.0.9")), Party::new(Some("w1"), None));
    for link in 0..16 {
        arrivals.begin(link, &greedy);
    }
    arrivals.begin(16, &good);
    let mut charges: Vec<Option<Charge>> = (0..17).map(|_| None).collect();
    let ask = |arrivals: &mut Arrivals, charges: &mut [Option<Charge>], link: u32| {
        arrivals.admit(link, &mut charges[link as usize], 16 * MIB)
    };
    let admitted: usize = (0..16).map(|at| usize::from(ask(&mut arrivals, &mut charges, at))).sum();
    assert_eq!(admitted, 7, "half of 192 MiB, and one in the reserve");
    // Ten of them wait before it.
    assert!(ask(&mut arrivals, &mut charges, 16));
    arrivals.end(16, &mut charges[16]);
    assert!(arrivals.take_news().is_empty(), "that was no room for any of them");
    let mut done = 0;
    while let Some(at) = charges.iter().position(Option::is_some) {
        arrivals.end(u32::try_from(at).unwrap(), &mut charges[at]);
        done += 1;
        if arrivals.queue.has_news() {
            // Some may find that others of their party were before them.
            for next in arrivals.take_news() {
                ask(&mut arrivals, &mut charges, next);
            }
        }
    }
    assert_eq!((done, budget.used()), (16, 0));
    for link in 0..17 {
        arrivals.forget(link);
    }
    assert!(arrivals.parties.is_empty());
}

#[test]
fn the_reserve_is_of_use_to_whoever_waits_longest_however_much_is_held() {
    let budget = budget(1200, 100);
    let mut arrivals = Arrivals::new(&budget);
    let requests = Account::new(&budget);
    let stuck = arrivals.answers.charge(800);
    assert!(!requests.has_room_for(100) && requests.may_begin_with(100));
    let request = requests.charge(100);
    assert!(!requests.may_begin_with(100));
    let (mut first, mut second) = (None, None);
    assert!(arrivals.admit(1, &mut first, 100));
    assert!(!arrivals.admit(2, &mut second, 100));
    assert!(!arrivals.admit(2, &mut second, 100));
    assert!(!arrivals.admit(3, &mut None, 50));
    // Its answer is held now, too, and yet the next one has room.
    let kept = arrivals.answers.charge(100);
    arrivals.end(1, &mut first);
    assert!(arrivals.queue.has_news());
    assert_eq!(arrivals.take_news(), [2]);
    assert!(arrivals.admit(2, &mut second, 100));
    assert_eq!(budget.used(), 1100, "and there is room for its answer");
    drop((stuck, request, kept, second));
    arrivals.queue.forget(2);
    assert_eq!(arrivals.take_news(), [3]);
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_body_of_64_kib_is_not_held_back_while_there_is_plenty() {
    use chargehand_core::message::BODY_HEAD_BYTES_MAX;

    let budget = budget(16 << 20, 0);
    let (arrivals, share) = (Arrivals::new(&budget), budget.share());
    let body = postcard::to_stdvec(&vec![7_u8; 64 << 10]).expect("a list of bytes");
    assert!(BODY_HEAD_BYTES_MAX + body.len() <= share.allowance());
    let _most = arrivals.answers.charge((8 << 20) + 1);
    assert_eq!(share.allowance(), SMALL_BYTES_MAX, "now every one is looked at");
}

#[test]
fn whoever_waits_is_told_once_something_comes_back() {
    let budget = budget(1000, 100);
    let account = Account::new(&budget);
    let (one, two) = (account.charge(1), account.charge(1));
    let listener = budget.room.listen();
    drop(one);
    assert!(budget.room.total_listeners() == 1);
    budget.await_more();
    drop(two);
    assert!(futures_util::FutureExt::now_or_never(listener).is_some());
}
