//! What a block option tells: which block, of which size, and whether more follow (RFC 7959 §2.2).

use crate::block::Target;
use crate::message::uint;

/// The size of a block in bytes, a power of two (RFC 7959 §2.2, SZX).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockSize {
    /// 16 bytes.
    B16,
    /// 32 bytes.
    B32,
    /// 64 bytes.
    B64,
    /// 128 bytes.
    B128,
    /// 256 bytes.
    B256,
    /// 512 bytes.
    B512,
    /// 1024 bytes.
    B1024,
}

impl BlockSize {
    /// How many bytes a full block has.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::B16 => 16,
            Self::B32 => 32,
            Self::B64 => 64,
            Self::B128 => 128,
            Self::B256 => 256,
            Self::B512 => 512,
            Self::B1024 => 1024,
        }
    }

    /// The largest size of at most so many bytes; `None` below 16.
    #[must_use]
    pub fn at_most(bytes: usize) -> Option<Self> {
        ALL.into_iter().rev().find(|size| size.bytes() <= bytes)
    }

    /// `None` for the reserved SZX of 7.
    fn of_szx(szx: u64) -> Option<Self> {
        usize::try_from(szx)
            .ok()
            .and_then(|szx| ALL.get(szx))
            .copied()
    }

    fn szx(self) -> u64 {
        ALL.into_iter()
            .zip(0..)
            .find(|(size, _)| *size == self)
            .map_or(0, |(_, szx)| szx)
    }
}

/// By SZX.
const ALL: [BlockSize; 7] = [
    BlockSize::B16,
    BlockSize::B32,
    BlockSize::B64,
    BlockSize::B128,
    BlockSize::B256,
    BlockSize::B512,
    BlockSize::B1024,
];

/// The value of a Block1 or Block2 option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    /// Counts blocks of `size` from the start of the body; 20 bits.
    pub(crate) num: u32,
    /// Whether the body goes on after this block.
    pub(crate) more: bool,
    pub(crate) size: BlockSize,
}

impl Block {
    /// `None` if the size is the reserved one, or the value longer than 3 bytes.
    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let value = uint::decode(value).filter(|value| *value <= LARGEST_VALUE)?;
        Some(Self {
            num: u32::try_from(value >> 4).ok()?,
            more: value & 0b1000 != 0,
            size: BlockSize::of_szx(value & 0b111)?,
        })
    }

    pub(crate) fn encode(self) -> Vec<u8> {
        let more = if self.more { 0b1000 } else { 0 };
        uint::encode((u64::from(self.num) << 4) | more | self.size.szx())
    }

    /// Where in the body the block begins.
    pub(crate) fn offset(self) -> usize {
        usize::try_from(self.num)
            .unwrap_or(usize::MAX)
            .saturating_mul(self.size.bytes())
    }

    /// The block that begins there, in blocks of at most `largest`.
    pub(crate) fn limited(self, largest: BlockSize) -> Self {
        let mut block = self;
        while block.size > largest
            && let Some(half) = BlockSize::at_most(block.size.bytes() >> 1)
        {
            block.size = half;
            block.num = block.num.saturating_mul(2);
        }
        block
    }
}

/// What has to be known of a request to answer it in blocks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) target: Target,
    /// The last block of the upload, to be confirmed by the answer.
    pub(crate) block1: Option<Block>,
    /// Which block of the answer is wanted, and of which size.
    pub(crate) block2: Option<Block>,
}

/// Three bytes (RFC 7959 §2.1).
const LARGEST_VALUE: u64 = 0x00FF_FFFF;

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7959 §2.2, and values as recorded from the reference.
    #[test]
    fn a_block_is_written_as_number_more_and_size() {
        for (value, num, more, size) in [
            (&[][..], 0, false, BlockSize::B16),
            (&[0x0d], 0, true, BlockSize::B512),
            (&[0x25], 2, false, BlockSize::B512),
            (&[0x1e], 1, true, BlockSize::B1024),
            (&[0x01, 0x08], 16, true, BlockSize::B16),
            (&[0xff, 0xff, 0xfe], 0x000f_ffff, true, BlockSize::B1024),
        ] {
            let block = Block { num, more, size };
            assert_eq!(Block::decode(value), Some(block));
            assert_eq!(block.encode(), value);
        }
        assert_eq!(Block::decode(&[0x0f]), None, "SZX 7 is reserved");
        assert_eq!(Block::decode(&[1, 0, 0, 0]), None, "four bytes");
        assert_eq!(Block::decode(&[0, 0, 0, 0x0d]), Block::decode(&[0x0d]));
    }

    #[test]
    fn a_smaller_block_begins_at_the_same_byte() {
        for size in ALL {
            let block = Block {
                num: 3,
                more: true,
                size,
            };
            for largest in ALL {
                let limited = block.limited(largest);
                assert_eq!(limited.offset(), block.offset());
                assert_eq!(limited.size, size.min(largest));
            }
        }
    }

    #[test]
    fn sizes_are_found_by_bytes() {
        for (bytes, size) in [
            (0, None),
            (15, None),
            (16, Some(BlockSize::B16)),
            (600, Some(BlockSize::B512)),
            (usize::MAX, Some(BlockSize::B1024)),
        ] {
            assert_eq!(BlockSize::at_most(bytes), size, "{bytes}");
        }
    }
}
