//! A certificate for the servers under test, made anew for each run: P-256, signed by itself.
//!
//! It is the same few hundred bytes but for key and signature, so they are written out here rather
//! than by a crate that can make any certificate.

use std::error::Error;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const PRIME256V1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// Key and certificate, as PEM, for localhost.
pub fn new() -> Result<String, Box<dyn Error>> {
    let random = SystemRandom::new();
    let kind = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(kind, &random).map_err(|_| "no key was made")?;
    let key = EcdsaKeyPair::from_pkcs8(kind, pkcs8.as_ref(), &random)
        .map_err(|error| error.to_string())?;

    let algorithm = sequence(&[der(OBJECT_IDENTIFIER, ECDSA_WITH_SHA256)]);
    let claims = claims(&algorithm, key.public_key().as_ref());
    let signature = key.sign(&random, &claims).map_err(|_| "nothing was signed")?;
    let certificate = sequence(&[claims, algorithm, bit_string(signature.as_ref())]);
    Ok(pem("PRIVATE KEY", pkcs8.as_ref()) + &pem("CERTIFICATE", &certificate))
}

/// What is signed: that a public key is localhost's.
fn claims(algorithm: &[u8], public_key: &[u8]) -> Vec<u8> {
    let text = der(UTF8_STRING, b"localhost");
    let name = sequence(&[der(SET, &sequence(&[der(OBJECT_IDENTIFIER, COMMON_NAME), text]))]);
    let always = sequence(&[der(UTC_TIME, b"700101000000Z"), der(UTC_TIME, b"491231235959Z")]);
    let curve = [der(OBJECT_IDENTIFIER, EC_PUBLIC_KEY), der(OBJECT_IDENTIFIER, PRIME256V1)];
    let names = sequence(&[der(DNS_NAME, b"localhost"), der(IP_ADDRESS, &[127, 0, 0, 1])]);
    let extension =
        sequence(&[der(OBJECT_IDENTIFIER, SUBJECT_ALTERNATIVE_NAME), der(OCTET_STRING, &names)]);
    sequence(&[
        der(VERSION, &der(INTEGER, &[2])),
        der(INTEGER, &[1]),
        algorithm.to_vec(),
        name.clone(),
        always,
        name,
        sequence(&[sequence(&curve), bit_string(public_key)]),
        der(EXTENSIONS, &sequence(&[extension])),
    ])
}

/// A value with its tag and length, as ASN.1's distinguished encoding has them.
fn der(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = value.len();
    assert!(length < 1 << 16, "nothing here is so long");
    let mut found = match length {
        0..0x80 => vec![tag, length as u8],
        0x80..0x100 => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    found.extend_from_slice(value);
    found
}

fn sequence(values: &[Vec<u8>]) -> Vec<u8> {
    der(SEQUENCE, &values.concat())
}

/// Of whole bytes.
fn bit_string(value: &[u8]) -> Vec<u8> {
    der(BIT_STRING, &[&[0], value].concat())
}

fn pem(label: &str, value: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in value.chunks(48) {
        text.push_str(&base64(line));
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let mut bits = [0; 4];
        bits[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(bits);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_fills_the_last_group() {
        let found: Vec<String> =
            [&b""[..], b"f", b"fo", b"foo", b"foob"].map(base64).into_iter().collect();
        assert_eq!(found, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }

    #[test]
    fn lengths_take_as_many_bytes_as_they_need() {
        assert_eq!(der(4, &[0; 127])[..2], [4, 127]);
        assert_eq!(der(4, &[0; 128])[..3], [4, 0x81, 128]);
        assert_eq!(der(4, &[0; 300])[..4], [4, 0x82, 1, 44]);
    }
}
