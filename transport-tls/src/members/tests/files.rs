//! The files themselves: whose they are, and what is wrong with others.

use super::*;
use crate::members::file::write_new;

#[test]
fn files_are_for_their_owner_only_and_never_written_over_another() {
    let dir = Dir::new();
    let authority = dir.authority();
    let path = dir.path("w1.join");
    authority.join(Role::Worker, "w1").write(&path).unwrap();
    let before = fs::read_to_string(&path).unwrap();
    let text = authority.join(Role::Worker, "w2").write(&path).unwrap_err().to_string();
    assert!(text.contains("w1.join: there is such a file already"), "{text}");
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    assert!(Authority::create(dir.path("authority.pem")).is_err());
    #[cfg(unix)]
    for name in ["authority.pem", "w1.join"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(dir.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn an_authority_that_is_opened_again_goes_on_as_the_same() {
    run(async {
        let dir = Dir::new();
        let before = dir.authority();
        let pool = dir.pool(before.join(Role::Pool, "m1")).unwrap();
        let again = Authority::open(dir.path("authority.pem")).unwrap();
        assert_eq!(again.certificate().trim(), before.certificate().trim());
        let worker = dir.worker(again.join(Role::Worker, "w1")).unwrap();
        assert_eq!(met(&pool, &worker).await, (known("w1"), known("m1")));

        let path = dir.path("w1.join");
        again.join(Role::Worker, "w1").write(&path).unwrap();
        let text = Authority::open(&path).unwrap_err().to_string();
        assert!(text.contains("is it the file of an authority?"), "{text}");
        let mixed = fs::read_to_string(dir.path("authority.pem")).unwrap();
        let mixed = mixed.replace("Authority: chargehand", "Authority: somebody");
        write_new(&dir.path("mixed"), &mixed).unwrap();
        let text = Authority::open(dir.path("mixed")).unwrap_err().to_string();
        assert!(text.contains("do not belong together"), "{text}");
    });
}

#[test]
fn what_is_no_join_file_is_named_with_what_it_lacks() {
    let dir = Dir::new();
    let authority = dir.authority();
    let path = dir.path("w1.join");
    authority.join(Role::Worker, "w1").write(&path).unwrap();
    let whole = fs::read_to_string(&path).unwrap();
    let blocks: Vec<&str> = whole.split_inclusive("-----END CERTIFICATE-----\n").collect();
    let [own, authoritys, key] = blocks[..] else { panic!("{} blocks", blocks.len()) };
    let bad = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
    for (text, problem) in [
        (String::new(), "no key"),
        (format!("{own}{authoritys}"), "no key"),
        (key.to_owned(), "no certificate"),
        (format!("{own}{key}"), "no certificate of an authority"),
        (format!("{authoritys}{own}{key}"), "is refused: CaUsedAsEndEntity"),
        (format!("{own}{bad}{key}"), "it is damaged"),
        (format!("{bad}{authoritys}{key}"), "it is damaged"),
    ] {
        fs::write(&path, &text).unwrap();
        let error = Members::worker(&path).unwrap_err();
        assert!(error.to_string().contains(problem), "{error}, and not {problem}");
        assert_eq!(error.path(), path);
    }
    fs::remove_file(&path).unwrap();
    assert!(Members::worker(&path).unwrap_err().to_string().contains("w1.join"));
    // Whoever cuts a file off anywhere gets an error, and no panic.
    for length in (0..whole.len()).step_by(7) {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(Members::worker(&path).is_err(), "{length}");
    }
}

#[test]
fn names_hosts_and_authorities_that_cannot_be_meant_are_refused_and_nothing_is_written() {
    let dir = Dir::new();
    let authority = dir.authority();
    let path = dir.path("x.join");
    let long = "x".repeat(61);
    for name in ["", "w/1", "-w", "w 1", "w\n1", "wö", &*long] {
        let text = authority.join(Role::Worker, name).write(&path).unwrap_err().to_string();
        assert!(text.contains("cannot be a member's name"), "{text}");
    }
    let join = || authority.join(Role::Worker, "w1");
    assert!(join().manager("tls://a\nName: m1").write(&path).is_err());
    assert!(join().host("wö").write(&path).is_err());
    assert!(join().also_trust("nobody").write(&path).is_err());
    // Nor is a member one to trust, or it could make more members.
    join().write(dir.path("w1.join")).unwrap();
    let member = fs::read_to_string(dir.path("w1.join")).unwrap();
    let text = join().also_trust(&member).write(&path).unwrap_err().to_string();
    assert!(text.contains("no authority's certificate"), "{text}");
    assert!(!path.exists());
}

/// Whoever may read it is that member, and whoever may change it chooses whom the member trusts.
#[cfg(unix)]
#[test]
fn a_file_that_others_may_read_or_change_is_refused_with_its_mode_and_what_to_do() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

    let dir = Dir::new();
    let authority = dir.authority();
    let (join, own) = (dir.path("w1.join"), dir.path("authority.pem"));
    authority.join(Role::Worker, "w1").write(&join).unwrap();
    let owner = fs::metadata(&join).unwrap().uid();
    // Whoever may give files away sees both rules, and others theirs.
    let owners = if owner == 0 { vec![1000, 0] } else { vec![owner] };
    for owner in owners {
        for path in [&join, &own] {
            chown(path, Some(owner), None).unwrap();
        }
        for (mode, is_good) in [
            (0o600, true),
            (0o400, true),
            (0o640, owner == 0),
            (0o660, false),
            (0o604, false),
            (0o602, false),
            (0o644, false),
            (0o777, false),
        ] {
            for path in [&join, &own] {
                fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            }
            let errors = [Members::worker(&join).err(), Authority::open(&own).err()];
            for error in errors {
                assert_eq!(error.is_none(), is_good, "{mode:o} of {owner}: {error:?}");
                let Some(error) = error else { continue };
                let text = error.to_string();
                for part in [&format!("mode {mode:03o}"), "chmod 600"] {
                    assert!(text.contains(part), "{text}");
                }
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn a_list_of_the_revoked_that_anybody_may_change_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let dir = Dir::new();
    let pool = dir.pool(dir.authority().join(Role::Pool, "m1")).unwrap();
    let list = dir.path("revoked");
    fs::write(&list, "w1").unwrap();
    for (mode, is_good) in [(0o644, true), (0o664, true), (0o666, false), (0o602, false)] {
        fs::set_permissions(&list, fs::Permissions::from_mode(mode)).unwrap();
        let text = pool.clone().revoked(&list).err().map(|error| error.to_string());
        assert_eq!(text.is_none(), is_good, "{mode:o}: {text:?}");
        assert!(is_good || text.is_some_and(|text| text.contains("chmod o-w")));
    }
}

#[test]
fn a_key_of_another_file_in_a_members_place_is_told() {
    let dir = Dir::new();
    let authority = dir.authority();
    let texts = ["w1", "w2"].map(|name| {
        let path = dir.path(name);
        authority.join(Role::Worker, name).write(&path).unwrap();
        fs::read_to_string(path).unwrap()
    });
    let key = |text: &str| text[text.find("-----BEGIN PRIVATE KEY").unwrap()..].to_owned();
    let own = texts[0].replace(&key(&texts[0]), "");
    let authoritys = fs::read_to_string(dir.path("authority.pem")).unwrap();
    for (number, other) in [key(&authoritys), key(&texts[1])].iter().enumerate() {
        let path = dir.path(&format!("swapped-{number}"));
        write_new(&path, &format!("{own}{other}")).unwrap();
        let text = Members::worker(&path).unwrap_err().to_string();
        assert!(text.contains("its key is not the one of its certificate"), "{text}");
    }
    // The whole file.
    let text = Members::worker(dir.path("authority.pem")).unwrap_err().to_string();
    assert!(text.contains("this is the file of an authority"), "{text}");
    assert!(text.contains("Authority::join"), "{text}");
    assert!(!text.contains("PRIVATE"), "{text}");
}

/// Of several files in one, the certificates of the later members stand where those are that the first one trusts:
/// whoever has a later one's key could vouch for anybody.
#[test]
fn several_files_in_one_are_refused_and_make_no_member_an_authority() {
    let dir = Dir::new();
    let authority = dir.authority();
    let join = |name: &str| {
        let path = dir.path(name);
        authority.join(Role::Worker, name).write(&path).unwrap();
        fs::read_to_string(path).unwrap()
    };
    let (one, other) = (join("w1"), join("w2"));
    let without_key = &other[..other.find("-----BEGIN PRIVATE KEY").unwrap()];
    for (number, (text, problem)) in [
        (format!("{one}{other}"), "more than one key"),
        (format!("{one}{one}"), "more than one key"),
        (format!("{one}{without_key}"), "no authority's"),
    ]
    .iter()
    .enumerate()
    {
        let path = dir.path(&format!("several-{number}"));
        write_new(&path, text).unwrap();
        let error = Members::worker(&path).unwrap_err().to_string();
        assert!(error.contains(problem) && error.contains("several join files"), "{error}");
    }
    // Another authority's certificate behind it is one more to trust, whenever that was made.
    let second = Authority::create(dir.path("second.pem")).unwrap();
    let path = dir.path("rotated");
    write_new(&path, &format!("{one}{}", second.certificate())).unwrap();
    assert_eq!(Members::worker(&path).unwrap().name(), "w1");
}

/// Editors and mail of other systems end lines with a carriage return as well.
#[test]
fn files_with_carriage_returns_are_the_same() {
    let dir = Dir::new();
    let authority = dir.authority();
    let join = authority.join(Role::Worker, "w1").manager("tls://m1:9000");
    join.write(dir.path("w1.join")).unwrap();
    let returned = |name: &str| {
        let text = fs::read_to_string(dir.path(name)).unwrap().replace('\n', "\r\n");
        let path = dir.path(&format!("{name}-returned"));
        write_new(&path, &text).unwrap();
        path
    };
    let worker = Members::worker(returned("w1.join")).unwrap();
    assert_eq!((worker.name(), worker.manager()), ("w1", Some("tls://m1:9000")));
    let again = Authority::open(returned("authority.pem")).unwrap();
    let later = dir.pool(again.join(Role::Pool, "m1").also_trust(authority.certificate())).unwrap();
    let list = dir.path("revoked");
    fs::write(&list, "w1 # lost\r\nw2\r\n").unwrap();
    let later = later.revoked(&list).unwrap();
    assert!(later.is_revoked("w1") && later.is_revoked("w2") && !later.is_revoked("w3"));
}

/// A link does not change what a file is: one to a secret that is open to others is refused, and nothing is
/// written through one.
#[cfg(unix)]
#[test]
fn links_to_files_are_as_good_as_the_files_and_are_never_written_through() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let dir = Dir::new();
    let authority = dir.authority();
    let (file, link) = (dir.path("w1.join"), dir.path("link"));
    authority.join(Role::Worker, "w1").write(&file).unwrap();
    symlink(&file, &link).unwrap();
    assert_eq!(Members::worker(&link).unwrap().name(), "w1");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(Members::worker(&link).unwrap_err().to_string().contains("chmod 600"));

    let (nowhere, trap) = (dir.path("nowhere"), dir.path("trap"));
    symlink(&nowhere, &trap).unwrap();
    assert!(authority.join(Role::Worker, "w2").write(&trap).is_err());
    assert!(Authority::create(&trap).is_err());
    assert!(!nowhere.exists(), "nothing is made where the link leads");
    // Where there is no folder, or none that may be written to, the error has the path.
    let text = authority.join(Role::Worker, "w2").write(dir.path("no/w2")).unwrap_err();
    assert!(text.to_string().contains("no/w2"), "{text}");
}

#[test]
fn a_file_that_is_garbled_anywhere_is_refused_or_the_same_member() {
    let dir = Dir::new();
    let authority = dir.authority();
    let path = dir.path("w1.join");
    authority.join(Role::Worker, "w1").write(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    let first_block = whole.windows(10).position(|bytes| bytes == b"-----BEGIN").unwrap();
    let mut refused = 0;
    for place in (0..whole.len()).step_by(5) {
        for garbage in [b'!', b'A', b'\n', 0xff] {
            let mut garbled = whole.clone();
            if std::mem::replace(&mut garbled[place], garbage) == garbage {
                continue;
            }
            fs::write(&path, garbled).unwrap();
            match Members::worker(&path) {
                Ok(members) => assert_eq!(members.name(), "w1", "{garbage} at {place}"),
                Err(error) => {
                    assert!(error.to_string().contains("w1.join"), "{error}");
                    refused += usize::from(place >= first_block);
                }
            }
        }
    }
    assert!(refused > 300, "{refused}");
}
