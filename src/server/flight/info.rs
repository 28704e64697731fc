//! What the server says of itself: `SqlInfo`, and the types that columns may have.

use crate::error::{Error, Result};
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{
    Nullable, Searchable, SqlInfo, SqlNullOrdering, SqlSupportedCaseSensitivity, SqlSupportedTransaction, XdbcDataType,
};

pub(super) struct Info {
    pub sql: SqlInfoData,
    pub types: XdbcTypeInfoData,
}

/// A type's name, its JDBC type, and how many digits or bits it has.
const TYPES: [(&str, XdbcDataType, Option<i32>); 12] = [
    ("BOOLEAN", XdbcDataType::XdbcBit, None),
    ("SMALLINT", XdbcDataType::XdbcSmallint, Some(16)),
    ("INTEGER", XdbcDataType::XdbcInteger, Some(32)),
    ("BIGINT", XdbcDataType::XdbcBigint, Some(64)),
    ("REAL", XdbcDataType::XdbcReal, Some(24)),
    ("DOUBLE", XdbcDataType::XdbcDouble, Some(53)),
    ("DECIMAL", XdbcDataType::XdbcDecimal, Some(38)),
    ("TEXT", XdbcDataType::XdbcVarchar, None),
    ("BYTEA", XdbcDataType::XdbcVarbinary, None),
    ("DATE", XdbcDataType::XdbcDate, None),
    ("TIME", XdbcDataType::XdbcTime, None),
    ("TIMESTAMP", XdbcDataType::XdbcTimestamp, None),
];

impl Info {
    pub fn new(read_only: bool) -> Result<Self> {
        let mut sql = SqlInfoDataBuilder::new();
        sql.append(SqlInfo::FlightSqlServerName, "NablaDB");
        sql.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
        sql.append(SqlInfo::FlightSqlServerArrowVersion, arrow::ARROW_VERSION);
        sql.append(SqlInfo::FlightSqlServerReadOnly, read_only);
        sql.append(SqlInfo::FlightSqlServerSql, true);
        sql.append(SqlInfo::FlightSqlServerSubstrait, false);
        sql.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::Transaction as i32);
        sql.append(SqlInfo::FlightSqlServerCancel, true);
        sql.append(SqlInfo::FlightSqlServerBulkIngestion, !read_only);
        sql.append(SqlInfo::FlightSqlServerIngestTransactionsSupported, !read_only);
        sql.append(SqlInfo::SqlDdlCatalog, false);
        sql.append(SqlInfo::SqlDdlSchema, false);
        sql.append(SqlInfo::SqlDdlTable, !read_only);
        sql.append(SqlInfo::SqlIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i32);
        sql.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
        sql.append(SqlInfo::SqlQuotedIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityCaseInsensitive as i32);
        sql.append(SqlInfo::SqlAllTablesAreSelectable, true);
        sql.append(SqlInfo::SqlNullOrdering, SqlNullOrdering::SqlNullsSortedAtEnd as i32);
        sql.append(SqlInfo::SqlTransactionsSupported, true);
        let mut types = XdbcTypeInfoDataBuilder::new();
        for (name, data_type, size) in TYPES {
            let is_text = matches!(data_type, XdbcDataType::XdbcVarchar | XdbcDataType::XdbcVarbinary);
            let is_time = matches!(data_type, XdbcDataType::XdbcDate | XdbcDataType::XdbcTime | XdbcDataType::XdbcTimestamp);
            let quote = (is_text || is_time).then(|| "'".to_string());
            types.append(XdbcTypeInfo {
                type_name: name.into(),
                data_type,
                column_size: size,
                literal_prefix: quote.clone(),
                literal_suffix: quote,
                create_params: None,
                nullable: Nullable::NullabilityNullable,
                case_sensitive: is_text,
                searchable: Searchable::Full,
                unsigned_attribute: size.map(|_| false),
                fixed_prec_scale: false,
                auto_increment: None,
                local_type_name: Some(name.into()),
                minimum_scale: None,
                maximum_scale: None,
                sql_data_type: data_type,
                datetime_subcode: None,
                num_prec_radix: size.map(|_| if data_type == XdbcDataType::XdbcDecimal { 10 } else { 2 }),
                interval_precision: None,
            });
        }
        let failed = |e: arrow_flight::error::FlightError| Error::new(e.to_string());
        Ok(Self { sql: sql.build().map_err(failed)?, types: types.build().map_err(failed)? })
    }
}
