//! Whoever shows more than a member would.

use super::*;
use crate::testing::Issued;

/// Returns whom a pool knows a client as that shows these, or why it is refused.
async fn known_by(chain: Issued, dir: &Dir, authority: &Authority) -> Result<String, String> {
    let pool = dir.pool(authority.join(Role::Pool, "m1")).unwrap();
    let mut config = client(&Issuer::new("any"), Some(chain));
    config.dangerous().set_certificate_verifier(worker_trusting(dir, authority));
    let stranger = TlsDial::new((), Arc::new(config));
    let (_, far) = shake(Memory::pair(), &stranger, &pool.accept(())).await;
    far.map(|far| far.identity().unwrap().to_owned()).map_err(|error| error.to_string())
}

#[test]
fn what_a_peer_shows_beside_its_own_certificate_is_not_looked_at() {
    run(async {
        let dir = Dir::new();
        let authority = dir.authority();
        let path = dir.path("w1.join");
        authority.join(Role::Worker, "w1").write(&path).unwrap();
        // As others do that are given the whole file for their certificates.
        let JoinFile { key, certificate, authorities, .. } = JoinFile::read(&path).unwrap();
        let chain = [vec![certificate], authorities].concat();
        assert_eq!(known_by(Issued { chain, key }, &dir, &authority).await, known("w1"));

        // Ways without number through certificates of one name, none of which leads anywhere.
        let others: Vec<_> = (0..120).map(|_| Issuer::new("one")).collect();
        let mut own = others[0].issue("w1", -1..30);
        own.chain.extend(others.iter().map(Issuer::certificate));
        let text = known_by(own, &dir, &authority).await.unwrap_err();
        assert!(text.contains("not of an authority that this end trusts"), "{text}");
    });
}
