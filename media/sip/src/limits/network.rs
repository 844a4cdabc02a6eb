//! Ranges of addresses.

use std::net::IpAddr;
use std::str::FromStr;

/// Addresses that share their first bits: `203.0.113.0/24`, `2001:db8::/32`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    base: u128,
    bits: u8,
    v6: bool,
}

/// A text that names no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no network: write an address like 203.0.113.7 or a range like 203.0.113.0/24")]
pub struct NetworkError(String);

impl Network {
    /// Whether `address` lies within. An IPv4 address mapped into IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (value, v6) = number(address);
        v6 == self.v6 && mask(value, self.bits, v6) == self.base
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        let (base, v6) = number(address);
        Self { base, bits: if v6 { 128 } else { 32 }, v6 }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = || NetworkError(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let whole = Self::from(address.trim().parse::<IpAddr>().map_err(|_| wrong())?);
        let bits = bits.unwrap_or(whole.bits);
        if bits > whole.bits {
            return Err(wrong());
        }
        Ok(Self { base: mask(whole.base, bits, whole.v6), bits, v6: whole.v6 })
    }
}

pub(super) fn number(address: IpAddr) -> (u128, bool) {
    match address.to_canonical() {
        IpAddr::V4(address) => (u128::from(u32::from(address)), false),
        IpAddr::V6(address) => (u128::from(address), true),
    }
}

fn mask(value: u128, bits: u8, v6: bool) -> u128 {
    let width = if v6 { 128 } else { 32 };
    let shift = width - u32::from(bits);
    value.checked_shr(shift).and_then(|v| v.checked_shl(shift)).unwrap_or(0)
}
