pub struct Catalog;
