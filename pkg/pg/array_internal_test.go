package pg

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"
	pgxuuid "github.com/vgarvardt/pgx-google-uuid/v5"
	"pgregory.net/rapid"
)

// What is written without pgx's help is what pgx would have written.
func TestArrays_are_encoded_as_pgx_does(t *testing.T) {
	t.Parallel()
	theirs, ours := pgtype.NewMap(), pgtype.NewMap()
	for _, m := range []*pgtype.Map{theirs, ours} {
		pgxuuid.Register(m)
	}
	registerArrays(ours)
	moment := rapid.Custom(func(t *rapid.T) *time.Time {
		if rapid.Bool().Draw(t, "none") {
			return nil
		}
		at := time.Unix(rapid.Int64Range(-1<<35, 1<<35).Draw(t, "second"), rapid.Int64Range(0, 999_999_999).Draw(t, "nano"))
		return &at
	})
	id := rapid.Custom(func(t *rapid.T) uuid.UUID {
		return uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
	})
	rapid.Check(t, func(t *rapid.T) {
		for oid, value := range map[uint32]any{
			pgtype.UUIDArrayOID:        rapid.SliceOf(id).Draw(t, "uuids"),
			pgtype.TextArrayOID:        rapid.SliceOf(rapid.String()).Draw(t, "texts"),
			pgtype.ByteaArrayOID:       rapid.SliceOf(rapid.SliceOf(rapid.Byte())).Draw(t, "bytes"),
			pgtype.Int2ArrayOID:        rapid.SliceOf(rapid.Int16()).Draw(t, "int16s"),
			pgtype.Int4ArrayOID:        rapid.SliceOf(rapid.Int32()).Draw(t, "int32s"),
			pgtype.Int8ArrayOID:        rapid.SliceOf(rapid.Int64()).Draw(t, "int64s"),
			pgtype.TimestamptzArrayOID: rapid.SliceOf(moment).Draw(t, "times"),
			// These are left to pgx.
			pgtype.BoolArrayOID:    rapid.SliceOf(rapid.Bool()).Draw(t, "bools"),
			pgtype.VarcharArrayOID: rapid.SliceOf(rapid.String()).Draw(t, "names"),
		} {
			want, err := theirs.Encode(oid, pgtype.BinaryFormatCode, value, []byte("before"))
			require.NoError(t, err)
			got, err := ours.Encode(oid, pgtype.BinaryFormatCode, value, []byte("before"))
			require.NoError(t, err)
			require.Equal(t, want, got, "%T", value)
		}
	})
	for oid, value := range map[uint32]any{
		pgtype.UUIDArrayOID: []uuid.UUID(nil), pgtype.ByteaArrayOID: [][]byte{nil, {}, []byte("x")},
		pgtype.TimestamptzArrayOID: []time.Time{time.Now()},
	} {
		want, err := theirs.Encode(oid, pgtype.BinaryFormatCode, value, nil)
		require.NoError(t, err)
		got, err := ours.Encode(oid, pgtype.BinaryFormatCode, value, nil)
		require.NoError(t, err)
		require.Equal(t, want, got, "%T", value)
	}
}

func BenchmarkArrays(b *testing.B) {
	ids := make([]uuid.UUID, 200)
	for name, arrays := range map[string]bool{"pgx": false, "ours": true} {
		b.Run(name, func(b *testing.B) {
			m := pgtype.NewMap()
			pgxuuid.Register(m)
			if arrays {
				registerArrays(m)
			}
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if buf, err = m.Encode(pgtype.UUIDArrayOID, pgtype.BinaryFormatCode, ids, buf[:0]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
