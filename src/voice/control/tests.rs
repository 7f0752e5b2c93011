use proptest::prelude::*;

use super::*;

fn pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[3; 32]).unwrap()
}

fn public(pair: &Ed25519KeyPair) -> Vec<u8> {
    use aws_lc_rs::signature::KeyPair;
    pair.public_key().as_ref().to_vec()
}

/// All commands, with fields that are told apart.
fn commands() -> [Command; 8] {
    [
        Command::Create { uid: 0x0102_0304_0506_0708 },
        Command::Delete { uid: 1, chid: 2 },
        Command::Join { uid: 1, juid: 2, chid: 3 },
        Command::Leave { uid: 1, luid: 2, chid: 3 },
        Command::Register { auid: 1, rights: 2 },
        Command::Unregister { auid: 1, uid: 2 },
        Command::GetPort { chid: 1 },
        Command::GetChannels,
    ]
}

#[test]
fn bytes_of_requests() {
    let create = Request::unsigned(commands()[0]).encode();
    assert_eq!(create, [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    let join = Request::unsigned(commands()[2]).encode();
    assert_eq!(join.len(), 28);
    assert_eq!(join[..12], [0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(join[20..], [0, 0, 0, 0, 0, 0, 0, 3]);
    assert_eq!(Request::unsigned(Command::GetChannels).encode(), [0, 0, 0, 7]);
    let lengths: Vec<_> = (0..8).chain(16..24).map(|number| length(number).unwrap()).collect();
    assert_eq!(lengths, [12, 20, 28, 28, 20, 20, 12, 4, 84, 92, 100, 100, 124, 92, 84, 76]);
    for unknown in [8, 9, 15, 24, 32, 36, 0x0200_0000, u32::MAX] {
        assert_eq!(length(unknown), None, "{unknown}");
        assert_eq!(Request::decode(&unknown.to_be_bytes()), Err(Error::NotImplemented), "{unknown}");
    }
}

#[test]
fn a_request_in_pieces_with_more_behind_it() {
    for (number, command) in commands().into_iter().enumerate() {
        assert_eq!(command.number(), number as u32);
        for request in [Request::unsigned(command), Request::signed(command, 77, &pair())] {
            let mut bytes = request.encode();
            let whole = bytes.len();
            // What the original client always sends.
            bytes.resize(36.max(whole), 0xAB);
            for end in 0..bytes.len() {
                let expected = (end >= whole).then_some((request, whole));
                assert_eq!(Request::decode(&bytes[..end]), Ok(expected), "{command:?} {end}");
            }
        }
    }
}

#[test]
fn a_signature_is_of_every_byte_before_it() {
    for command in commands() {
        let request = Request::signed(command, 9, &pair());
        assert_eq!(request.proof.unwrap().key.is_some(), matches!(command, Command::Register { .. }));
        assert!(request.is_signed_by(&public(&pair())));
        assert!(!request.is_signed_by(&[0; 32]) && !request.is_signed_by(&[1; 31]) && !request.is_signed_by(&[]));
        assert!(!Request::unsigned(command).is_signed_by(&public(&pair())));
        let bytes = request.encode();
        // Not the type: another type has another length, or is another command, which the next test has.
        for at in 4..bytes.len() {
            let mut bent = bytes.clone();
            bent[at] ^= 1;
            let (bent, _) = Request::decode(&bent).unwrap().unwrap();
            assert!(!bent.is_signed_by(&public(&pair())), "{command:?} {at}");
        }
    }
}

#[test]
fn a_signature_is_not_good_for_another_command() {
    let join = Request::signed(commands()[2], 9, &pair());
    let mut bytes = join.encode();
    bytes[3] += 1;
    let (leave, _) = Request::decode(&bytes).unwrap().unwrap();
    assert_eq!(leave.command, commands()[3]);
    assert!(!leave.is_signed_by(&public(&pair())));
}

#[test]
fn bytes_of_answers() {
    assert_eq!(Answer::Value(0x0102).encode(), [0, 0, 0, 0, 0, 0, 1, 2]);
    assert_eq!(Answer::Failed(Error::Access).encode(), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4]);
    assert_eq!(Answer::Value(0).encode(), Answer::Failed(Error::Server).encode());
    assert_eq!(Answer::Channels(vec![]).encode(), [0; 16]);
    let five = Answer::Channels(vec![69, 70, 71, 72, 42]).encode();
    let last_bytes: Vec<_> = five.chunks(8).map(|number| number[7]).collect();
    assert_eq!((five.len(), last_bytes), (56, vec![5, 69, 70, 71, 72, 42, 0]));
    let joined = Answer::Joined { port: 0x1234, key: [7; KEY] }.encode();
    assert_eq!((joined.len(), &joined[..9]), (40, &[0, 0, 0, 0, 0, 0, 0x12, 0x34, 7][..]));
}

#[test]
fn answers_in_pieces() {
    let join = Request::signed(commands()[2], 1, &pair());
    let list = Request::unsigned(Command::GetChannels);
    let plain = Request::unsigned(commands()[2]);
    let failed = Answer::Failed(Error::NotImplemented);
    for (request, answer) in [
        (join, Answer::Joined { port: 5, key: [9; KEY] }),
        (join, failed.clone()),
        (list, Answer::Channels(vec![])),
        (list, Answer::Channels(vec![u64::MAX, 1])),
        (list, failed.clone()),
        (plain, Answer::Value(u64::MAX)),
        (plain, failed),
    ] {
        let bytes = answer.encode();
        for end in 0..bytes.len() {
            assert_eq!(Answer::decode(&request, &bytes[..end]), Ok(None), "{answer:?} {end}");
        }
        assert_eq!(Answer::decode(&request, &bytes), Ok(Some(answer)));
    }
    assert_eq!(Answer::decode(&plain, &[0; 12]), Err(NoAnswer));
    assert_eq!(Answer::decode(&join, &[1; 40]), Err(NoAnswer), "no port");
    assert_eq!(Answer::decode(&list, &u64::MAX.to_be_bytes()), Err(NoAnswer));
    let no_end = [1u64, 5, 6].map(u64::to_be_bytes).concat();
    assert_eq!(Answer::decode(&list, &no_end), Err(NoAnswer));
}

#[test]
fn errors_and_codes() {
    for number in 1..=5 {
        assert_eq!(Error::of(number).number(), number);
    }
    assert_eq!(Error::of(6), Error::Server);
    let known = [
        (Code::BadArgs, 2),
        (Code::NotFound, 2),
        (Code::TooLong, 3),
        (Code::BadPacket, 3),
        (Code::Denied, 4),
        (Code::BadCommand, 5),
    ];
    for code in Code::ALL {
        let number = known.iter().find(|(known, _)| known == code).map_or(1, |(_, number)| *number);
        assert_eq!(Error::of_code(*code).number(), number, "{code:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0u32..26) {
        let _ = Request::decode(&bytes);
        let mut typed = kind.to_be_bytes().to_vec();
        typed.extend_from_slice(&bytes);
        if let Ok(Some((request, length))) = Request::decode(&typed) {
            prop_assert_eq!(request.encode(), &typed[..length]);
            let _ = Answer::decode(&request, &bytes);
        }
    }
}
