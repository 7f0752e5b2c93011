use proptest::prelude::*;

use super::*;

const UID: u64 = 0x1122_3344_5566_7788;

#[test]
fn bytes_of_a_user_packet() {
    let packet = user(UID, b"sound");
    assert_eq!(packet[..13], *b"\x88\x77\x66\x55\x44\x33\x22\x11sound");
    assert!(packet[13..].iter().all(|byte| *byte == 0));
    assert_eq!(parse(&packet), Some(Datagram::User { uid: UID }));
    assert_eq!((uid(&packet), &data(&packet)[..5]), (UID, &b"sound"[..]));
    assert_eq!(user(UID, &[7; 600])[8..], [7; DATA]);
    for length in [0, 1, 511] {
        assert_eq!(parse(&packet[..length]), None);
    }
    assert_eq!(parse(&[&packet[..], b"x"].concat()), None);
}

#[test]
fn bytes_of_a_system_packet() {
    let packet = system(Operation::Keepalive, UID, 0x0102_0304);
    assert_eq!(packet[..8], [0xFF, 0xFF, 0xFF, 0xFF, 0x80, 0, 0, 0]);
    assert_eq!(packet[8..20], *b"\x88\x77\x66\x55\x44\x33\x22\x11\x04\x03\x02\x01");
    // The low half of 0x22334455667788_00, of 0x0ACDD400 and of the ackid.
    assert_eq!(packet[20..24], (0x6677_8800u32 ^ 0x0ACD_D400 ^ 0x0102_0304).to_le_bytes());
    assert_eq!(
        parse(&packet),
        Some(Datagram::System { operation: Some(Operation::Keepalive), uid: UID, ackid: 0x0102_0304 })
    );
    for at in 8..24 {
        let mut bent = packet;
        bent[at] ^= 1;
        // The checksum has the low three bytes of the uid only.
        assert_eq!(parse(&bent).is_none(), !(11..16).contains(&at), "{at}");
    }
}

#[test]
fn operations() {
    for (n, operation) in
        [Operation::Keepalive, Operation::Join, Operation::Leave, Operation::Acknowledge, Operation::End]
            .into_iter()
            .enumerate()
    {
        assert_eq!(operation.number(), 0x8000_0000 + n as u32);
        assert_eq!(Operation::of(operation.number()), Some(operation));
        assert_eq!(system(operation, 1, 2)[4..8], [0x80, 0, 0, n as u8]);
    }
    for unknown in [0, 4, 0x7FFF_FFFF, 0x8000_0005, u32::MAX] {
        assert_eq!(Operation::of(unknown), None);
    }
}

#[test]
fn a_tag_is_of_every_byte_and_of_its_key() {
    let mut packet = user(UID, b"sound");
    seal(&mut packet, &[5; KEY], 0x0102);
    assert_eq!(packet[488..496], [2, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(packet[496..], blake3::keyed_hash(&[5; KEY], &packet[..496]).as_bytes()[..16]);
    assert_eq!(counter(&packet), 0x0102);
    assert!(is_sealed(&packet, &[5; KEY]) && !is_sealed(&packet, &[6; KEY]));
    for at in 0..PACKET {
        let mut bent = packet;
        bent[at] ^= 0x10;
        assert!(!is_sealed(&bent, &[5; KEY]), "{at}");
    }
    assert!(!is_sealed(&packet[..511], &[5; KEY]) && !is_sealed(&[], &[5; KEY]));
}

#[test]
fn a_signature_is_of_every_byte_and_of_its_key() {
    let signer = Signer::new(&[9; KEY]).unwrap();
    let mut packet = told(Operation::End, 0, 0, 77, 88);
    assert!(!is_signed(&packet, &signer.public()));
    signer.sign(&mut packet);
    assert_eq!(packet[24..40], [77u64.to_le_bytes(), 88u64.to_le_bytes()].concat());
    assert_eq!((told_channel(&packet), told_counter(&packet)), (77, 88));
    assert!(is_signed(&packet, &signer.public()));
    assert!(!is_signed(&packet, &Signer::new(&[8; KEY]).unwrap().public()));
    assert!(!is_signed(&packet[..511], &signer.public()) && !is_signed(&[], &signer.public()));
    for at in 0..PACKET {
        let mut bent = packet;
        bent[at] ^= 1;
        assert!(!is_signed(&bent, &signer.public()), "{at}");
    }
}

proptest! {
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600), magic: bool) {
        let mut bytes = bytes;
        if magic && bytes.len() >= 4 {
            bytes[..4].fill(0xFF);
        }
        prop_assert!(bytes.len() == PACKET || parse(&bytes).is_none());
        let _ = (data(&bytes), uid(&bytes), counter(&bytes), told_channel(&bytes), told_counter(&bytes));
        prop_assert!(!is_sealed(&bytes, &[1; KEY]));
        prop_assert!(!is_signed(&bytes, &[1; KEY]));
    }

    #[test]
    fn what_was_made_is_read(uid in any::<u64>(), ackid in any::<u32>(), sound in prop::collection::vec(any::<u8>(), 0..=DATA)) {
        let packet = user(uid, &sound);
        if uid as u32 != MAGIC {
            prop_assert_eq!(parse(&packet), Some(Datagram::User { uid }));
        }
        prop_assert_eq!(&data(&packet)[..sound.len()], &sound[..]);
        let system = told(Operation::Acknowledge, uid, ackid, uid, 5);
        prop_assert_eq!(parse(&system), Some(Datagram::System { operation: Some(Operation::Acknowledge), uid, ackid }));
    }
}
