//! Other join files for the same member, while links come and go.

use super::*;

#[test]
fn an_authority_takes_the_others_place_while_links_come_and_go() {
    run(async {
        let (dir, elsewhere) = (Dir::new(), Dir::new());
        let (old, new) = (dir.authority(), elsewhere.authority());
        let (pool, worker) = (Role::Pool, Role::Worker);
        let both = |a: &Authority, b: &Authority| {
            let (a, b) = (a, b.certificate());
            (
                dir.pool(a.join(pool, "m1").also_trust(b)).unwrap(),
                dir.worker(a.join(worker, "w1").also_trust(b)).unwrap(),
            )
        };
        let alone = |a: &Authority| {
            (dir.pool(a.join(pool, "m1")).unwrap(), dir.worker(a.join(worker, "w1")).unwrap())
        };
        let stages = [alone(&old), both(&old, &new), both(&new, &old), alone(&new)];
        for (number, next) in stages.iter().enumerate().skip(1) {
            let before = &stages[number - 1];
            for (m, w) in [(&before.0, &next.1), (&next.0, &before.1), (&next.0, &next.1)] {
                assert_eq!(met(m, w).await, (known("w1"), known("m1")), "stage {number}");
                assert_eq!(met(w, m).await, (known("m1"), known("w1")), "stage {number}");
            }
        }
        assert!(met(&stages[0].0, &stages[3].1).await.0.is_err());
    });
}

#[test]
fn a_new_file_is_gone_by_from_the_next_handshake_on_without_sessions_of_before() {
    run(async {
        let dir = Dir::new();
        let authority = dir.authority();
        let pool = dir.pool(authority.join(Role::Pool, "m1")).unwrap();
        let worker = dir.worker(authority.join(Role::Worker, "w1").days(30)).unwrap();
        let dial = worker.dial(());
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            assert_eq!(shaken(&dial, &pool).await, kind);
        }
        let before = worker.expires();
        dir.load(authority.join(Role::Worker, "w1").days(60), |path| worker.renew(path)).unwrap();
        assert!(worker.expires() > before + 29 * DAY, "{:?}", worker.expires());
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            assert_eq!(shaken(&dial, &pool).await, kind);
        }
        // So of a listener, which was made before as well.
        dir.load(authority.join(Role::Pool, "m1").days(60), |path| pool.renew(path)).unwrap();
        assert_eq!(shaken(&dial, &pool).await, HandshakeKind::Full);

        for (join, problem) in [
            (authority.join(Role::Worker, "w2"), "the join file of \"w2\", and not of \"w1\""),
            (authority.join(Role::Pool, "w1"), "join file of a pool"),
            (authority.join(Role::Worker, "w1").made_at(day(-38)).days(30), "expired on"),
        ] {
            let text = dir.load(join, |path| worker.renew(path)).unwrap_err().to_string();
            assert!(text.contains(problem), "{text}");
            assert_eq!(met(&worker, &pool).await, (known("m1"), known("w1")));
        }
    });
}

/// Has two ends meet, and the tickets come with the first bytes.
async fn shaken(dial: &TlsDial<()>, far: &Members) -> HandshakeKind {
    let (near, far) = shake(Memory::pair(), dial, &far.accept(())).await;
    let (mut near, mut far) = (near.unwrap(), far.unwrap());
    far.write_all(b"x").await.unwrap();
    far.flush().await.unwrap();
    near.read_exact(&mut [0]).await.unwrap();
    near.session().handshake_kind().unwrap()
}

#[test]
fn streams_of_an_authority_that_is_trusted_no_longer_end_and_others_stay() {
    run(async {
        let (dir, elsewhere) = (Dir::new(), Dir::new());
        let (old, new) = (dir.authority(), elsewhere.authority());
        let list = dir.path("revoked");
        fs::write(&list, "w9").unwrap();
        let both = old.join(Role::Pool, "m1").also_trust(new.certificate());
        let pool = dir.pool(both).unwrap().revoked(&list).unwrap();
        let late = dir.worker(old.join(Role::Worker, "w1").also_trust(new.certificate())).unwrap();
        let moved = dir.worker(new.join(Role::Worker, "w2").also_trust(old.certificate())).unwrap();
        let mut ends = Vec::new();
        for worker in [&late, &moved] {
            let (near, far) = shake(Memory::pair(), &worker.dial(()), &pool.accept(())).await;
            ends.push((near.unwrap(), far.unwrap()));
        }
        let both = new.join(Role::Pool, "m1").also_trust(old.certificate());
        dir.load(both, |path| pool.renew(path)).unwrap();
        for (near, far) in &mut ends {
            assert_eq!((near.trust(), far.trust()), (Trust::Holds, Trust::Holds));
        }
        dir.load(new.join(Role::Pool, "m1"), |path| pool.renew(path)).unwrap();
        for _ in 0..2 {
            let Trust::Ended(text) = ends[0].1.trust() else { panic!("nobody vouches for it") };
            assert!(text.contains("not of an authority that this end trusts"), "{text}");
            assert_eq!(ends[1].1.trust(), Trust::Holds);
        }
        // Nor does it come back, while the other does, and who was refused stays so.
        assert!(met(&late, &pool).await.1.unwrap_err().contains("not of an authority"));
        assert_eq!(met(&moved, &pool).await, (known("m1"), known("w2")));
        assert!(pool.is_revoked("w9"));
    });
}

/// A handshake goes by what there was when it began, so what it found is looked at again once it is done.
#[test]
fn a_renewal_while_a_handshake_is_under_way_holds_for_that_as_well() {
    use chargehand_core::io::{Accept, Dial};
    use futures_util::future::{join, poll_fn};

    run(async {
        let (dir, elsewhere) = (Dir::new(), Dir::new());
        let (old, new) = (dir.authority(), elsewhere.authority());
        let trusting = |role, name| old.join(role, name).also_trust(new.certificate());
        let late = dir.worker(trusting(Role::Worker, "w1")).unwrap();
        let moved = new.join(Role::Worker, "w2").also_trust(old.certificate());
        let moved = dir.worker(moved).unwrap();
        for pool_dials in [true, false] {
            for (worker, is_let_in) in [(&late, false), (&moved, true)] {
                let pool = dir.pool(trusting(Role::Pool, "m1")).unwrap();
                let (near, far) = Memory::pair();
                let (dialler, listener) =
                    if pool_dials { (&pool, worker) } else { (worker, &pool) };
                let dial = dialler.dial(()).over(Once::new(near));
                let mut accept = listener.accept(()).over(Once::new(far));
                let dialling = dial.dial("m1:9000");
                let accepting = poll_fn(|cx| accept.poll_accept(cx)).await.unwrap().0;
                // Both ends have begun. Now the pool trusts the new authority alone.
                dir.load(new.join(Role::Pool, "m1"), |path| pool.renew(path)).unwrap();
                let (dialled, accepted) = join(dialling, accepting).await;
                let at_pool = if pool_dials { dialled } else { accepted };
                match at_pool {
                    Ok(stream) => assert!(is_let_in, "{:?}", stream.identity()),
                    Err(error) => {
                        let text = error.to_string();
                        assert!(
                            text.contains("not of an authority that this end trusts"),
                            "{text}"
                        );
                        assert!(!is_let_in, "{text}");
                    }
                }
            }
        }
    });
}
